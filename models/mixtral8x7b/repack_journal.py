"""What a repack has finished so far, so that a run that is killed is taken up by the next.

    <output>/unfinished.json    which source this is, and the manifest's entries of every file that is finished

A file that the journal lists and that is there is whole and synced to disk: its entries are written after its bytes
are safe and before it gets its name.
"""

import json
from pathlib import Path
from typing import Any

from models.mixtral8x7b.durable import write_text_durably
from models.mixtral8x7b.repacked import MANIFEST, Manifest
from models.mixtral8x7b.source_checkpoint import SourceCheckpoint
from models.mixtral8x7b.weights import CheckpointError

UNFINISHED = "unfinished.json"
Entries = dict[str, dict[str, Any]]  # of the manifest, by tensor name


class Journal:
    """Of one repack into one folder. Raises CheckpointError if the folder holds anything else."""

    def __init__(self, output: Path, checkpoint: SourceCheckpoint, flavour: str) -> None:
        self._output = output
        self._file = output / UNFINISHED
        self._flavour, self._form = flavour, checkpoint.form
        self._source = checkpoint.identity()
        self._run = {
            "flavour": flavour,
            "form": checkpoint.form.value,
            "params": checkpoint.config.to_params(),
            "source": self._source,
        }
        self._times = {file.name: file.stat().st_mtime_ns for file in checkpoint.files}
        self._is_finished = (output / MANIFEST).is_file()
        self.entries: Entries = self._of_manifest() if self._is_finished else self._of_unfinished()

    def has(self, name: str) -> bool:
        """Whether the file of this name needs no writing."""
        return (self._output / name).is_file() and any(entry["file"] == name for entry in self.entries.values())

    def add(self, entries: Entries) -> None:
        """The entries of a file whose bytes are safe.

        Raises CheckpointError if they differ from those of a finished repack: the source is not what it was.
        """
        if self._is_finished:
            if any(self.entries.get(name) != entry for name, entry in entries.items()):
                raise self._is_of_another()
            return
        self.entries |= entries
        write_text_durably(
            self._file, json.dumps(self._run | {"times": self._times, "tensors": self.entries}, indent=1) + "\n"
        )

    def finish(self) -> None:
        """All files are there: writes the manifest, which makes the folder a repacked checkpoint."""
        manifest = Manifest(self._flavour, self._form, self._source, self.entries)
        write_text_durably(self._output / MANIFEST, manifest.to_json())
        self._file.unlink(missing_ok=True)

    def _of_manifest(self) -> Entries:
        there = Manifest.read(self._output)
        if (there.flavour, there.form, there.source) != (self._flavour, self._form, self._source):
            raise self._is_of_another()
        return there.tensors

    def _of_unfinished(self) -> Entries:
        if not self._file.is_file():
            others = sorted(file.name for file in self._output.iterdir())
            if others:
                raise CheckpointError(f"{self._output} holds something else ({others[0]}, ...); choose an empty folder")
            return {}
        try:
            there = json.loads(self._file.read_text(encoding="utf-8"))
            entries, times = dict(there.pop("tensors")), dict(there.pop("times"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{self._file} is damaged ({error!r}); delete the folder {self._output}") from error
        if there != self._run:
            raise self._is_of_another()
        return entries if times == self._times else {}  # a file of the source was fetched again: nothing counts

    def _is_of_another(self) -> CheckpointError:
        return CheckpointError(f"{self._output} holds another checkpoint; choose another folder or delete it")
