"""Reads a published Mixtral, a tensor at a time.

    consolidated.NN.pt                    Mistral's first release: the experts of a layer stacked
    model*.safetensors                    Hugging Face's, with model.safetensors.index.json where there are several
    consolidated*.safetensors             Mistral's later files: one tensor per expert

The keys tell the form (`weights.Form`), not the file type. Files are memory-mapped and no code in them is executed.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.mixtral8x7b.checkpoint.tensor_files import tensors_of
from models.mixtral8x7b.checkpoint.weights import (
    CheckpointError,
    Placed,
    check_keys,
    form_of,
    listed,
    source_shapes,
    take,
)
from models.mixtral8x7b.config import ConfigError, MixtralConfig

INDEX = "model.safetensors.index.json"
PATTERNS = ("consolidated.*.pt", "model*.safetensors", "consolidated*.safetensors")  # the first that is there
DTYPES = (torch.bfloat16, torch.float16, torch.float32)
SAMPLES, SAMPLE_BYTES = 33, 64 << 10
ReadPlaced = Callable[[Placed], Tensor]


@dataclass(frozen=True)
class _Stored:
    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


class SourceCheckpoint:
    """The weights in a directory, each key accounted for and each shape checked against the configuration.

    Raises CheckpointError when files or keys are missing, unknown, unreadable or of another shape.
    """

    def __init__(self, directory: Path) -> None:
        if not directory.is_dir():
            raise CheckpointError(f"{directory} is not a directory; expected one with the weights of Mixtral")
        try:
            self.config = MixtralConfig.from_dir(directory)
        except ConfigError as error:
            raise CheckpointError(str(error)) from error
        self.directory = directory
        self.files = _weight_files(directory)
        self._stored: dict[str, _Stored] = {}
        for file in self.files:
            for key, tensor in tensors_of(file).items():
                if key in self._stored:
                    other = self._stored[key].file.name
                    raise CheckpointError(f"{file} holds {key}, which {other} holds too; remove one of them")
                self._stored[key] = _Stored(file, tuple(tensor.shape), tensor.dtype)
        self.form = form_of(self._stored)
        self._check()

    def size_of(self, tensors: Iterable[Placed]) -> int:
        """Bytes."""
        return sum(
            prod(tensor.weight.shape(self.config)) * self._stored[tensor.key(self.form)].dtype.itemsize
            for tensor in tensors
        )

    def identity(self) -> dict[str, dict[str, Any]]:
        """Of each file its bytes and a hash of samples: two checkpoints of one model agree in all sizes."""
        return {file.name: {"bytes": file.stat().st_size, "sampled_sha256": _sampled(file)} for file in self.files}

    @contextmanager
    def reading(self) -> Iterator[ReadPlaced]:
        """Yields a function that gives one of our tensors (see `weights.take`), dtype as stored.

        Tensors are views of mapped files, and what has been read of a file counts as this process's memory until the
        last of its tensors is gone: read a layer in one `reading`, and let no tensor outlive it.
        """
        opened: dict[Path, dict[str, Tensor]] = {}

        def read(key: str) -> Tensor:
            file = self._stored[key].file
            if file not in opened:
                opened[file] = tensors_of(file)
            return opened[file][key]

        try:
            yield lambda tensor: take(tensor, self.form, self.config, read)
        finally:
            opened.clear()

    def _check(self) -> None:
        names = f"{self.directory} ({len(self.files)} x {_pattern(self.files[0])})"
        shapes = source_shapes(self.config, self.form)
        check_keys(self._stored, shapes, names)
        for key, stored in self._stored.items():
            if stored.shape != shapes[key]:
                raise CheckpointError(
                    f"{self.directory}: {key} has shape {list(stored.shape)}; {list(shapes[key])} expected by the "
                    "configuration"
                )
            if stored.dtype not in DTYPES:
                expected = ", ".join(str(dtype) for dtype in DTYPES)
                raise CheckpointError(f"{self.directory}: {key} is {stored.dtype}; expected one of {expected}")


def _weight_files(directory: Path) -> list[Path]:
    for pattern in PATTERNS:
        files = sorted(file for file in directory.glob(pattern) if file.is_file())
        if files:
            return _indexed(directory, files) if pattern.startswith("model") else files
    raise CheckpointError(f"{directory} has no weights; expected {' or '.join(PATTERNS)}")


def _indexed(directory: Path, files: list[Path]) -> list[Path]:
    """The files that Hugging Face's index names, if there is one."""
    index = directory / INDEX
    if not index.is_file():
        return files
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        if not names or not all(isinstance(name, str) for name in names):
            raise ValueError("it names no files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read ({error!r}); fetch it again") from error
    missing = names - {file.name for file in files}
    if missing:
        raise CheckpointError(f"{directory} misses {len(missing)} of its files: {listed(missing)}; fetch them")
    return [file for file in files if file.name in names]


def _sampled(file: Path) -> str:
    """sha256 of SAMPLES stretches of SAMPLE_BYTES, from the start to the end of the file."""
    size, digest = file.stat().st_size, hashlib.sha256()
    with file.open("rb") as opened:
        for n in range(SAMPLES):
            opened.seek(max(0, size - SAMPLE_BYTES) * n // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()


def _pattern(file: Path) -> str:
    return next(pattern for pattern in PATTERNS if file.match(pattern))
