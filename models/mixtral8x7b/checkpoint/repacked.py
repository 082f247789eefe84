"""The repacked form of a checkpoint: what `scripts/repack_weights.py` writes and everything else reads.

params.json              the configuration, in Mistral's form
tokenizer.model, ...     what the source had of TOKENIZER_FILES
globals.safetensors      embedding, final norm, LM head
layers.NN.safetensors    one file per layer, one tensor per expert
manifest.json            written last: format version, flavour, source files, every tensor's file, shape, dtype, hash

While it is being written `unfinished.json` stands in the manifest's place (`repack_journal`).
"""

import hashlib
import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.mixtral8x7b.checkpoint.keys import check_keys
from models.mixtral8x7b.checkpoint.tensor_files import UnreadableError, check_path, tensors_of, unreadable
from models.mixtral8x7b.checkpoint.weights import CheckpointError, Form, Placed, all_tensors
from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.progress import OnProgress, no_progress

FORMAT_VERSION = 2
MANIFEST = "manifest.json"
TOKENIZER = "tokenizer.model"
TOKENIZER_FILES = (
    TOKENIZER,
    *(f"{TOKENIZER}.v{n}" for n in (1, 2, 3)),  # as Mistral names them
    "tokenizer.json",
    "tokenizer_config.json",
    "added_tokens.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
)
FLAVOURS = BASE, INSTRUCT = ("base", "instruct")
REPACK_COMMAND = ".venv/bin/python scripts/repack_weights.py <path_to_checkpoint_dir> <repacked_output_dir>"
_REPACK_AGAIN = f"delete the file and repack again: {REPACK_COMMAND}"


@dataclass(frozen=True)
class Manifest:
    flavour: str  # one of FLAVOURS
    form: Form  # of the source; the table of weights says which tensors it stores transposed
    source: dict[str, dict[str, Any]]  # file name -> bytes, sampled_sha256
    tensors: dict[str, dict[str, Any]]  # name -> file, shape, dtype, sha256 of its bytes
    files: dict[str, str]  # the other files: name -> sha256

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS or not all(is_entry(entry) for entry in self.tensors.values()):
            raise ValueError("not a manifest of a repacked checkpoint")

    def to_json(self) -> str:
        values = {
            "format_version": FORMAT_VERSION,
            "flavour": self.flavour,
            "form": self.form.value,
            "source": self.source,
            "tensors": self.tensors,
            "files": self.files,
        }
        return json.dumps(values, indent=1, sort_keys=True) + "\n"

    @classmethod
    def read(cls, directory: Path) -> "Manifest":
        """Raises CheckpointError if the directory has no manifest, or one that this version cannot read."""
        file = directory / MANIFEST
        if not file.is_file():
            raise CheckpointError(
                f"{directory} is not a repacked checkpoint (no {MANIFEST}); repack one first: {REPACK_COMMAND}"
            )
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            version = values["format_version"]
            if version == FORMAT_VERSION:
                return cls(
                    values["flavour"],
                    Form(values["form"]),
                    dict(values["source"]),
                    dict(values["tensors"]),
                    dict(values["files"]),
                )
        except OSError as error:
            raise unreadable(file, reason(error)) from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise CheckpointError(
                f"{file} is damaged; delete {directory} and repack again: {REPACK_COMMAND}"
            ) from error
        raise CheckpointError(
            f"{file} has format version {version!r}; expected {FORMAT_VERSION}; delete {directory} and repack again: "
            f"{REPACK_COMMAND}"
        )


def is_entry(value: Any) -> bool:
    """Whether it is what a manifest says of a tensor."""
    types = {"file": str, "shape": list, "dtype": str, "sha256": str}
    return isinstance(value, dict) and {name: type(field) for name, field in value.items()} == types


def hash_of(tensor: Tensor) -> str:
    """The manifest's sha256: of a contiguous tensor's bytes."""
    return hashlib.sha256(tensor.flatten().view(torch.uint8).numpy().data).hexdigest()


def hash_of_file(file: Path) -> str:
    """sha256 of a small file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class RepackedCheckpoint:
    """A repacked directory, opened: its configuration and its tensors, read one at a time from memory-mapped files.

    Raises CheckpointError, with the command that makes one, when the directory is not complete.
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)
        check_path(self.directory)
        self.manifest = Manifest.read(self.directory)
        try:
            self.config = MixtralConfig.from_dir(self.directory)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        self._placed: dict[str, Placed] = {tensor.name: tensor for tensor in all_tensors(self.config)}
        check_keys(self.manifest.tensors, self._placed, str(self.directory / MANIFEST))
        self._verified: set[str] = set()

    @property
    def flavour(self) -> str:
        return self.manifest.flavour

    @property
    def fingerprint(self) -> str:
        """A hash over the configuration and every tensor's name, shape, dtype and content: the model's identity."""
        content = {name: [t["shape"], t["dtype"], t["sha256"]] for name, t in sorted(self.manifest.tensors.items())}
        whole = [self.config.to_params(), self.manifest.form.value, content]
        return hashlib.sha256(json.dumps(whole).encode()).hexdigest()

    def names(self) -> list[str]:
        return list(self._placed)

    def n_parameters(self) -> int:
        return sum(prod(tensor["shape"]) for tensor in self.manifest.tensors.values())

    def wrong_files(self, on_progress: OnProgress = no_progress) -> dict[str, list[str]]:
        """Reads everything: file -> its tensors that are not as the manifest says. `on_progress` counts files.

        Raises UnreadableError where the system does not let a file be read.
        """
        names: dict[str, list[str]] = {}
        for name, entry in self.manifest.tensors.items():
            names.setdefault(entry["file"], []).append(name)
        found = {name: ["all of it"] for name, sha256 in self.manifest.files.items() if self._hash_of(name) != sha256}
        for done, (file, tensors) in enumerate(sorted(names.items())):
            on_progress(done, len(names))
            wrong = [name for name in tensors if not self._is_right(name)]
            if wrong:
                found[file] = wrong
        on_progress(len(names), len(names))
        return found

    def _hash_of(self, name: str) -> str:
        try:
            return hash_of_file(self.directory / name)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise unreadable(self.directory / name, reason(error)) from error

    def _is_right(self, name: str) -> bool:
        entry = self.manifest.tensors[name]
        try:
            stored = self._stored(name)
        except UnreadableError:
            raise
        except CheckpointError:
            return False
        described = [list(stored.shape), str(stored.dtype).removeprefix("torch.")]
        return described == [entry["shape"], entry["dtype"]] and hash_of(stored) == entry["sha256"]

    def tensor(self, name: str) -> Tensor:
        """The tensor as [out, in] (a transposed view where it is stored otherwise), dtype as stored.

        When it is read for the first time its hash is compared with the manifest's.
        """
        stored = self._stored(name)
        if name not in self._verified:
            if hash_of(stored) != self.manifest.tensors[name]["sha256"]:
                file = self.directory / self.manifest.tensors[name]["file"]
                raise CheckpointError(f"{file}: {name} is damaged; delete the file and repack again: {REPACK_COMMAND}")
            self._verified.add(name)
        placed = self._placed[name]
        value = stored.T if placed.weight.transposed_in is self.manifest.form else stored
        expected = placed.weight.shape(self.config)
        if tuple(value.shape) != expected:
            raise CheckpointError(
                f"{self.directory}: {name} has shape {list(value.shape)}; params.json says {list(expected)}; "
                f"repack again: {REPACK_COMMAND}"
            )
        return value

    def _stored(self, name: str) -> Tensor:
        file = self.directory / self.manifest.tensors[name]["file"]
        if not file.exists():
            raise CheckpointError(f"{file} is missing; repack again: {REPACK_COMMAND}")
        tensors = tensors_of(file, _REPACK_AGAIN)
        if name not in tensors:
            raise CheckpointError(f"{file} holds no {name}; {_REPACK_AGAIN}")
        return tensors[name]
