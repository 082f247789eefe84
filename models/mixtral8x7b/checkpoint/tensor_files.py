"""The files that tensors come in: `.safetensors`, and torch's `.pt`, `.pth` and `.bin`. No code in them is executed.

A file is mapped: no descriptor stays open, and its pages come from disk when they are used. Where the file system maps
no files (some Ceph, mergerfs and FUSE do not), each tensor is read when it is asked for.
"""

import mmap
import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import torch
from safetensors import safe_open
from torch import Tensor

from models.mixtral8x7b.checkpoint.unmapped_files import ReadTensors, Stored, in_safetensors, in_zip
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.json_file import is_lfs_pointer
from models.mixtral8x7b.mistake import reason
from models.mixtral8x7b.paths import is_utf8

FETCH = "fetch it again"
_ZIP = b"PK\x03\x04"  # torch's format since 1.6; the one before cannot be mapped, nor read in parts
Described: TypeAlias = tuple[tuple[int, ...], torch.dtype]


class UnreadableError(CheckpointError):
    """The system does not let the file be read: it may be whole."""


def check_path(folder: Path) -> None:
    """Raises CheckpointError if torch and ttnn could not open the files in it."""
    if not is_utf8(folder):
        raise CheckpointError(f"{folder} is a path that is not UTF-8; rename it, or use another folder")


def tensors_of(file: Path, remedy: str = FETCH) -> Mapping[str, Tensor]:
    """All tensors of a file. Raises UnreadableError, and CheckpointError, with the remedy, if the file is missing, is
    damaged or holds something else."""
    with _in_a_sentence(file, remedy):
        if _is_mapped(file):
            return _mapped(file)
        stored = _stored(file)
        return _Guarded(file, remedy, stored) if stored is not None else _named(file, torch.load(file, "cpu"))


def shapes_of(file: Path, remedy: str = FETCH) -> dict[str, Described]:
    """Shape and dtype of every tensor, of which none is read but in torch's old format. Raises what tensors_of does."""
    with _in_a_sentence(file, remedy):
        stored = None if _is_mapped(file) else _stored(file)
        tensors = {key: place.like for key, place in stored.items()} if stored is not None else tensors_of(file, remedy)
        return {key: (tuple(tensor.shape), tensor.dtype) for key, tensor in tensors.items()}


class _Guarded(ReadTensors):
    def __init__(self, file: Path, remedy: str, stored: dict[str, Stored]) -> None:
        super().__init__(file, stored)
        self._remedy = remedy

    def __getitem__(self, key: str) -> Tensor:
        with _in_a_sentence(self.file, self._remedy):
            return super().__getitem__(key)


def _mapped(file: Path) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    return _named(file, torch.load(file, map_location="cpu", mmap=True, weights_only=True))


def _stored(file: Path) -> dict[str, Stored] | None:
    """Where in the file each tensor is; None in torch's old format, which does not say."""
    if file.suffix == ".safetensors":
        return in_safetensors(file)
    if not _is_zip(file):
        return None
    return in_zip(_named(file, torch.load(file, map_location="meta", weights_only=True)))


def _named(file: Path, content: object) -> dict[str, Tensor]:
    if not isinstance(content, dict):
        raise CheckpointError(f"{file} holds a {type(content).__name__}; expected a dictionary of tensors: save one")
    for key, value in content.items():
        if not _is_named_tensor(key, value):
            raise CheckpointError(
                f"{file} does not hold a dictionary of tensors: {key!r} is {_kind(value)}; expected the weights alone: "
                "save them without what is around them"
            )
    return content


def _kind(value: object) -> str:
    return f"a {value.layout} tensor" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _is_named_tensor(key: object, value: object) -> bool:
    is_plain = isinstance(value, Tensor) and value.layout is torch.strided and value.device.type in ("cpu", "meta")
    return isinstance(key, str) and is_plain


def _is_zip(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_ZIP)) == _ZIP


def _is_mapped(file: Path) -> bool:
    """Whether the file can be mapped, as torch and safetensors will: whole, and copied where it is written."""
    if file.suffix != ".safetensors" and not _is_zip(file):
        return False
    with file.open("rb") as opened:
        try:
            mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY).close()
        except OSError:
            return False
        except ValueError:  # the file is empty: whoever maps it will say so
            pass
    return True


@contextmanager
def _in_a_sentence(file: Path, remedy: str) -> Iterator[None]:
    """Tells what the system refuses from what is wrong with the file, whatever a library makes of either."""
    try:
        if is_lfs_pointer(file):
            raise CheckpointError(f"{file} is a Git LFS pointer, not the file; run git lfs pull where it was cloned")
        yield
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        _check_system(file)
        raise CheckpointError(f"{file} is missing; {remedy}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{file} cannot be read: it holds more than tensors, or is damaged; expected tensors alone: {remedy}"
        ) from error
    except Exception as error:  # a damaged file makes torch raise whatever comes
        _check_system(file)
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            raise unreadable(file, "there is not enough memory") from error
        if isinstance(error, OSError) and error.errno is not None:
            raise unreadable(file, reason(error)) from error
        raise CheckpointError(f"{file} cannot be read: it is truncated, or otherwise damaged; {remedy}") from error


def _check_system(file: Path) -> None:
    """Raises UnreadableError if the system does not give what a library needs: descriptors, and the file's bytes."""
    try:
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(file.open("rb")).read(1)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise unreadable(file, reason(error)) from error


def unreadable(file: Path, why: str) -> UnreadableError:
    """The error for what the system refuses, to raise."""
    return UnreadableError(f"{file} cannot be read ({why}); mend this and run the same command again")
