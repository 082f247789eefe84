"""Reads tensors one at a time out of files that cannot be mapped: each file says where its tensors are."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch
from torch import Tensor

_MOST_HEADER_BYTES = 100_000_000  # safetensors' own limit
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: `like` has its shape, strides and dtype and no values."""

    like: Tensor
    start: int  # where the storage begins that the tensor is in
    n_bytes: int  # of the storage


class ReadTensors(Mapping[str, Tensor]):
    """Reads a tensor when it is asked for. Raises OSError, EOFError and MemoryError."""

    def __init__(self, file: Path, stored: dict[str, Stored]) -> None:
        self.file, self._stored = file, stored

    def __getitem__(self, key: str) -> Tensor:
        stored = self._stored[key]
        content = bytearray(stored.n_bytes)
        with self.file.open("rb") as opened:
            opened.seek(stored.start)
            if opened.readinto(content) != len(content):
                raise EOFError(f"{self.file} ends in {key}")
        like = stored.like
        if not content:
            return torch.empty(like.shape, dtype=like.dtype)
        flat = torch.frombuffer(content, dtype=torch.uint8).view(like.dtype)
        return flat.as_strided(like.shape, like.stride(), int(like.storage_offset()))

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def in_safetensors(file: Path) -> dict[str, Stored]:
    """The tensors of a `.safetensors` file. Raises OSError, and whatever else for a damaged one."""
    with file.open("rb") as opened:
        n_header = int.from_bytes(opened.read(8), "little")
        if n_header > _MOST_HEADER_BYTES:
            raise ValueError("the header is too large")
        header = json.loads(opened.read(n_header))
        n_data = opened.seek(0, 2) - 8 - n_header
    header.pop("__metadata__", None)
    found = {}
    for key, entry in header.items():
        like = torch.empty(entry["shape"], dtype=_DTYPES[entry["dtype"]], device="meta")
        start, end = entry["data_offsets"]
        if not 0 <= start <= end <= n_data or end - start != prod(entry["shape"]) * like.itemsize:
            raise ValueError(f"{key} is not in the file")
        found[key] = Stored(like, 8 + n_header + start, end - start)
    return found


def in_zip(loaded: dict[str, Tensor]) -> dict[str, Stored]:
    """The tensors of a file that torch has loaded onto its device "meta": it notes where the values are."""
    found = {}
    for key, tensor in loaded.items():
        storage = tensor.untyped_storage()
        assert storage._checkpoint_offset is not None
        found[key] = Stored(tensor, storage._checkpoint_offset, storage.nbytes())
    return found
