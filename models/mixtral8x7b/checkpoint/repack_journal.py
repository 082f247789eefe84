"""What a repack has finished so far, so that a run that is killed is taken up by the next.

    <output>/unfinished.json    which source this is, and the manifest's entries of every file that is finished

A file that the journal lists and that is there is whole and synced to disk: its entries are written after its bytes
are safe and before it gets its name.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from models.mixtral8x7b.checkpoint.keys import check_keys
from models.mixtral8x7b.checkpoint.repacked import MANIFEST, TOKENIZER_FILES, Manifest, hash_of_file, is_entry
from models.mixtral8x7b.checkpoint.source import SourceCheckpoint
from models.mixtral8x7b.checkpoint.tensor_files import UnreadableError, shapes_of, unreadable
from models.mixtral8x7b.checkpoint.weights import CheckpointError, all_tensors
from models.mixtral8x7b.durable import write_text_durably
from models.mixtral8x7b.mistake import reason

UNFINISHED = "unfinished.json"
_LEFT_BY_A_KILL = re.compile(r"((globals|layers\.\d+)\.safetensors|unfinished\.json)\.tmp|\.tmp\w{6}")
Entries = dict[str, dict[str, Any]]  # of the manifest, by tensor name


class Journal:
    """Of one repack into one folder. Raises CheckpointError if the folder holds anything else."""

    def __init__(self, output: Path, checkpoint: SourceCheckpoint, flavour: str) -> None:
        self._output = output
        self._file = output / UNFINISHED
        self.params = json.dumps(checkpoint.config.to_params(), indent=1) + "\n"  # what params.json will hold
        self._names = [tensor.name for tensor in all_tensors(checkpoint.config)]
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
        return any(entry["file"] == name for entry in self.entries.values()) and _is_whole(self._output / name)

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
        check_keys(self.entries, self._names, str(self._file))
        others = [self._output / name for name in ("params.json", *TOKENIZER_FILES)]
        files = {file.name: hash_of_file(file) for file in others if file.is_file()}
        manifest = Manifest(self._flavour, self._form, self._source, self.entries, files)
        write_text_durably(self._output / MANIFEST, manifest.to_json())
        self._file.unlink(missing_ok=True)

    def _of_manifest(self) -> Entries:
        there = Manifest.read(self._output)
        if there.flavour != self._flavour:
            raise CheckpointError(
                f"{self._output} was repacked as {there.flavour}, not {self._flavour}; choose another folder or delete "
                "it"
            )
        params = hashlib.sha256(self.params.encode()).hexdigest()
        if (there.form, there.source, there.files.get("params.json")) != (self._form, self._source, params):
            raise self._is_of_another()
        return there.tensors

    def _of_unfinished(self) -> Entries:
        if not self._file.is_file():
            others = sorted(file.name for file in self._output.iterdir() if not _LEFT_BY_A_KILL.fullmatch(file.name))
            if others:
                raise CheckpointError(f"{self._output} holds something else ({others[0]}, ...); choose an empty folder")
            return {}
        try:
            there = json.loads(self._file.read_text(encoding="utf-8"))
            entries, times = dict(there.pop("tensors")), dict(there.pop("times"))
            if not all(map(is_entry, entries.values())):
                raise ValueError("an entry of a tensor is not complete")
        except OSError as error:
            raise unreadable(self._file, reason(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{self._file} is damaged; delete the folder {self._output}") from error
        if there != self._run:
            raise self._is_of_another()
        return entries if times == self._times else {}  # a file of the source was fetched again: nothing counts

    def _is_of_another(self) -> CheckpointError:
        return CheckpointError(f"{self._output} holds another checkpoint; choose another folder or delete it")


def _is_whole(file: Path) -> bool:
    """Whether the file is there and as long as its header says."""
    try:
        shapes_of(file)
    except UnreadableError:
        raise
    except CheckpointError:
        return False
    return True
