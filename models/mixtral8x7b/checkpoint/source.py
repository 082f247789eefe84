"""Reads a published Mixtral, a tensor at a time.

Which files count says `forms.py`, what their keys mean `keys.py`. Of a checkpoint that is there in several forms the
first that is whole counts. Files are memory-mapped and no code in them is executed.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.mixtral8x7b.checkpoint.forms import Candidate, candidates, configs_for, resolve, what_else
from models.mixtral8x7b.checkpoint.keys import understood
from models.mixtral8x7b.checkpoint.tensor_files import check_path, shapes_of, tensors_of, unreadable
from models.mixtral8x7b.checkpoint.weights import CheckpointError, Form, Placed, source_shapes, take
from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.json_file import JsonError, read_object
from models.mixtral8x7b.mistake import reason

DTYPES = (torch.bfloat16, torch.float16, torch.float32)
SAMPLES, SAMPLE_BYTES = 33, 64 << 10
ReadPlaced = Callable[[Placed], Tensor]


@dataclass(frozen=True)
class _Stored:
    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype


class SourceCheckpoint:
    """The weights in a directory, each key accounted for and each shape checked against the configuration.

    `notes` says, in sentences, what was left aside: another form that is not whole, another configuration that
    disagrees. Raises CheckpointError when files or keys are missing, unknown, unreadable or of another shape.
    """

    config: MixtralConfig
    form: Form
    files: list[Path]

    def __init__(self, directory: Path) -> None:
        check_path(directory)
        if not directory.is_dir():
            raise CheckpointError(f"{directory} is not a directory; expected one with the weights of Mixtral")
        self.directory = directory
        self.notes: list[str] = []
        problems = []
        names = [file.name for file in directory.iterdir() if file.is_file()]
        for candidate in candidates(names, str(directory)):
            try:
                self._open(resolve(candidate, names, lambda index: read_object(directory / index), str(directory)))
                break
            except (CheckpointError, ConfigError, JsonError) as error:
                problems.append(str(error))
        else:
            raise CheckpointError("; and ".join(dict.fromkeys(problems)))
        self.notes += [f"left aside: {problem}" for problem in problems]

    @property
    def description(self) -> str:
        """What was found, for people."""
        return f"{self._candidate.shown}, form: {self.form.value}"

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

        Tensors are views of files, mapped where they can be, and what has been read of a file counts as this process's
        memory until the last of its tensors is gone: read a layer in one `reading`, and let no tensor outlive it.
        """
        opened: dict[Path, Mapping[str, Tensor]] = {}

        def read(key: str) -> Tensor:
            stored = self._stored[key]
            if stored.file not in opened:
                opened[stored.file] = tensors_of(stored.file)
            return opened[stored.file][stored.key]

        try:
            yield lambda tensor: take(tensor, self.form, self.config, read)
        finally:
            opened.clear()

    def _open(self, candidate: Candidate) -> None:
        """Raises CheckpointError or ConfigError if it is not whole."""
        config, notes = config_of(self.directory, candidate.kind.configs)
        stored: dict[str, _Stored] = {}
        for file in (self.directory / name for name in candidate.files):
            for key, (shape, dtype) in shapes_of(file).items():
                if candidate.where is not None and candidate.where.get(key) != file.name:
                    continue  # the index takes this key from another file
                if key in stored:
                    other = stored[key].file.name
                    raise CheckpointError(f"{file} holds {key}, which {other} holds too; remove one of them")
                stored[key] = _Stored(file, key, shape, dtype)
        if candidate.where is not None and (gone := candidate.where.keys() - stored.keys()):
            key = min(gone)
            raise CheckpointError(
                f"{self.directory}: {candidate.index} says that {candidate.where[key]} holds {key}, which it does not; "
                "expected files and index of one checkpoint: fetch them again"
            )
        names = understood(stored, config, f"{self.directory} ({candidate.shown})")
        self._candidate, self.config, self.form = candidate, config, names.form
        self.files = [self.directory / name for name in candidate.files]
        self._stored = {name: stored[key] for name, key in names.stored_as.items()}
        self._check()
        self.notes += notes

    def _check(self) -> None:
        shapes = source_shapes(self.config, self.form)
        for name, stored in self._stored.items():
            if stored.shape != shapes[name]:
                raise CheckpointError(
                    f"{self.directory}: {stored.key} has shape {list(stored.shape)}; {list(shapes[name])} expected by "
                    "the configuration: use weights and configuration of one model"
                )
            if stored.dtype not in DTYPES:
                expected = ", ".join(str(dtype) for dtype in DTYPES)
                raise CheckpointError(
                    f"{self.directory}: {stored.key} is {stored.dtype}; expected one of {expected}: fetch the original "
                    "if this is a quantised copy"
                )


def config_of(directory: Path, order: tuple[str, ...] | None = None) -> tuple[MixtralConfig, list[str]]:
    """The configuration of the checkpoint in a directory, and what the other one says differently, in sentences.

    Hugging Face's weights count with config.json, Mistral's with params.json. The longest context, which Mistral's
    file does not have, comes from the other one. Raises ConfigError.
    """
    names = [file.name for file in directory.glob("*")]
    order = order or configs_for(names)
    try:
        config = MixtralConfig.from_dir(directory, order)
    except ConfigError as error:
        if instead := what_else(names):
            raise ConfigError(f"{directory} {instead}; and {error}") from error
        raise
    first, *others = [name for name in order if name in names]
    notes = []
    for other in others:
        try:
            theirs = MixtralConfig.from_file(directory / other)
        except ConfigError as error:
            notes.append(f"{first} counts, and of the other one: {error}")
            continue
        if not _says_context(directory / first):
            config = replace(config, max_seq_len=theirs.max_seq_len)
        if not _says_context(directory / other):
            theirs = replace(theirs, max_seq_len=config.max_seq_len)
        for name in (field.name for field in fields(config)):
            ours, of_other = getattr(config, name), getattr(theirs, name)
            if ours != of_other:
                notes.append(f"{first} counts: its {name} is {ours}, that of {other} {of_other}")
    return config, notes


def _says_context(file: Path) -> bool:
    return not {"max_seq_len", "max_position_embeddings"}.isdisjoint(read_object(file))


def _sampled(file: Path) -> str:
    """sha256 of SAMPLES stretches of SAMPLE_BYTES, from the start to the end of the file."""
    digest = hashlib.sha256()
    try:
        with file.open("rb") as opened:
            size = opened.seek(0, 2)
            for n in range(SAMPLES):
                opened.seek(max(0, size - SAMPLE_BYTES) * n // (SAMPLES - 1))
                digest.update(opened.read(SAMPLE_BYTES))
    except OSError as error:
        raise unreadable(file, reason(error)) from error
    return digest.hexdigest()
