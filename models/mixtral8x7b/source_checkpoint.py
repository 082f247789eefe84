"""Reads a published Mixtral, a tensor at a time: Mistral's consolidated.NN.pt files or Hugging Face's safetensors.

Files are memory-mapped, so a tensor costs memory only while it is used, and no code in them is ever executed.
"""

import pickle
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.weights import CheckpointError, Form, Placed, check_keys, source_shapes, take

PATTERNS = {Form.CONSOLIDATED: "consolidated.*.pt", Form.HF: "*.safetensors"}


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
        self.form, self.files = _weight_files(directory)
        self._readers: dict[str, Callable[[], Tensor]] = {}
        for file in self.files:
            for key, reader in _READ[self.form](file).items():
                if key in self._readers:
                    raise CheckpointError(f"{file} holds {key}, which an earlier file holds too; remove one of them")
                self._readers[key] = reader
        shapes = source_shapes(self.config, self.form)
        names = f"{directory} ({len(self.files)} x {PATTERNS[self.form]})"
        check_keys(self._readers, shapes, names)
        self._shapes = shapes

    def tensor(self, tensor: Placed) -> Tensor:
        """One of our tensors (see `weights.take`), dtype as stored."""
        return take(tensor, self.form, self.config, self._read)

    def _read(self, key: str) -> Tensor:
        value, shape = self._readers[key](), self._shapes[key]
        if tuple(value.shape) != shape:
            raise CheckpointError(
                f"{self.directory}: {key} has shape {list(value.shape)}; {list(shape)} expected by the configuration"
            )
        if not value.is_floating_point():
            raise CheckpointError(f"{self.directory}: {key} is {value.dtype}; expected floating-point numbers")
        return value


def _weight_files(directory: Path) -> tuple[Form, list[Path]]:
    for form, pattern in PATTERNS.items():
        files = sorted(file for file in directory.glob(pattern) if not _is_mistrals_single_file(file))
        if files:
            return form, files
    raise CheckpointError(f"{directory} has no weights; expected {' or '.join(PATTERNS.values())}")


def _is_mistrals_single_file(file: Path) -> bool:
    """Mistral puts consolidated.safetensors, other names for the same weights, beside the HF files."""
    return file.name.startswith("consolidated") and file.suffix == ".safetensors"


def _read_pt(file: Path) -> dict[str, Callable[[], Tensor]]:
    try:
        tensors = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    except (RuntimeError, OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
        if isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(f"{file} cannot be read: it holds more than tensors, or is damaged") from error
        raise CheckpointError(f"{file} cannot be read; it may be truncated, fetch it again") from error
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise CheckpointError(f"{file} does not hold a dictionary of tensors; expected Mistral's consolidated weights")
    return {key: (lambda value=value: value) for key, value in tensors.items()}  # type: ignore[misc]


def _read_safetensors(file: Path) -> dict[str, Callable[[], Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        opened = safe_open(file, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); it may be truncated, fetch it again") from error
    return {key: (lambda key=key: opened.get_tensor(key)) for key in opened.keys()}  # type: ignore[misc]  # noqa: SIM118


_READ: dict[Form, Callable[[Path], dict[str, Callable[[], Tensor]]]] = {
    Form.CONSOLIDATED: _read_pt,
    Form.HF: _read_safetensors,
}
