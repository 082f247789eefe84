"""`.tensorbin` files on disk."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import torch

from tensorbin.formats import TensorbinError
from tensorbin.header import Header, decode, encode

_MOST_HEADER_BYTES = 1 << 20  # thousands of chips


def read_header(path: str | Path) -> Header:
    """The header of a file that is as long as it says. TensorbinError, with the file's name, for anything else; OSError
    if it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(8)
            if len(start) < 8:
                raise TensorbinError("the file ends in the header")
            header_bytes = 8 + struct.unpack("<Q", start)[0]
            if header_bytes > min(size, _MOST_HEADER_BYTES):
                raise TensorbinError("the file ends in the header, or is none of this format")
            header = decode(start + file.read(header_bytes - 8))
        if size != header_bytes + header.data_bytes:
            raise TensorbinError(f"the file has {size} bytes; its header tells of {header_bytes + header.data_bytes}")
    except TensorbinError as error:
        raise TensorbinError(f"{path}: {error}") from error
    return header


def read_parts(path: str | Path, header: Header) -> list[torch.Tensor]:
    """The parts of a file with this header, each uint8 [header.part_bytes], to unpack.

    The file is mapped, not read, and no descriptor of it stays open: pages come from disk when they are used and can
    be dropped again. A file that becomes shorter meanwhile ends the process; to replace a file, rename another to its
    name. Where the file system maps no files, all of it is read.
    """
    first = len(encode(header))
    with open(path, "rb") as file:
        content = _content(file, first + header.data_bytes).numpy()
    starts = (first + k * header.part_stride for k in range(header.n_parts))
    return [torch.from_numpy(content[start : start + header.part_bytes]) for start in starts]


def write(path: str | Path, header: Header, parts: Iterable[torch.Tensor]) -> None:
    """Write a file: under a temporary name first, then renamed. `parts`: uint8 [header.part_bytes] as of `pack`, in the
    order of `Header.part_of_chip`; one is held at a time. TensorbinError if their number or size does not fit."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.tmp.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            file.write(encode(header))
            count = 0
            for count, data in enumerate(parts, start=1):
                if data.dtype is not torch.uint8 or data.numel() != header.part_bytes:
                    raise TensorbinError(
                        f"{path}: a part has {data.numel()} x {data.dtype}, not {header.part_bytes} bytes"
                    )
                if count > 1:
                    file.write(bytes(header.part_stride - header.part_bytes))
                file.write(data.numpy().data)
            if count != header.n_parts:
                raise TensorbinError(f"{path}: {count} parts given, {header.n_parts} announced")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _content(file: BinaryIO, n_bytes: int) -> torch.Tensor:
    """uint8 [n_bytes]."""
    try:
        # copy on write, because torch knows no read-only memory; and torch opens no name that is not UTF-8
        return torch.from_file(f"/proc/self/fd/{file.fileno()}", shared=False, size=n_bytes, dtype=torch.uint8)
    except RuntimeError:
        content = bytearray(n_bytes)
        if file.readinto(content) != n_bytes:  # type: ignore[attr-defined]
            raise TensorbinError(f"{file.name}: the file has become shorter") from None
        return torch.frombuffer(content, dtype=torch.uint8)
