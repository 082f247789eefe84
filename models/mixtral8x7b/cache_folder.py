"""The folder of a weight cache: `.tensorbin` files in ttnn's own format, and what vouches for them. Needs no ttnn.

    layers.0.attention.wqkv_dtype_BFLOAT8_B_layout_TILE.tensorbin    one file per tensor, all chips' parts in it
    weight_cache.json    whose weights, for which mesh, and each file's size and checksums; grows file by file
    tokenizer.model      a copy, so that a start needs the cache alone

A file counts only if weight_cache.json names it, which it does after the file is synced to disk: a conversion that is
killed is taken up by the next. Every byte is compared with its checksum before anyone uses the file: first the header,
since ttnn crashes on a damaged one, then the parts.
"""

import json
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch

import tensorbin
from models.mixtral8x7b.durable import exclusive, write_durably, write_text_durably
from models.mixtral8x7b.weights import CheckpointError

INDEX = "weight_cache.json"
SUFFIX = ".tensorbin"
FORMAT_VERSION = 2
TOKENIZER = "tokenizer.model"
CONVERTING = 2  # parts at once: one waits for the disk while the other computes, on as many cores as torch uses
CHECKING = 4  # parts at once, READ_BYTES at a time: the most that was read on two cores
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """What a cache is of. A cache that differs in any field is another cache; the metadata names it in messages."""

    format_version: int
    fingerprint: str  # of the repacked checkpoint
    conversion: int  # version of how the model lays its weights out
    mesh: str  # "1x8"
    ttnn: str  # version whose file format it is

    def differs_from(self, other: "Identity") -> str:
        """The first field that differs, for people: "mesh is 1x4, not 1x8"; empty if none does."""
        for field in fields(self):
            ours, theirs = getattr(self, field.name), getattr(other, field.name)
            if ours != theirs:
                return f"its {field.name} is {theirs}, not {ours}"
        return ""


@dataclass(frozen=True)
class Source:
    """What a start needs to know of the checkpoint when it is gone."""

    flavour: str
    params: dict[str, Any]  # of MixtralConfig
    n_parameters: int


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    header_bytes: int
    header_crc32: int
    part_stride: int  # from the start of a part to the start of the next
    parts_crc32: list[int]  # each with the padding behind it


class CacheFolder:
    """A folder as it is now. Raises CheckpointError if its index is damaged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity: Identity | None = None
        self.source: Source | None = None
        self.files: dict[str, FileEntry] = {}
        self._read()

    # ---------------------------------------------------------------- reading

    def problem(self, name: str, header: bytes | None = None) -> str:
        """Why a file cannot be used, for people; empty if it is right. Reads every byte.

        With `header`, the file's must be this one.
        """
        file, entry = self.folder / name, self.files.get(name)
        if entry is None or not file.is_file():
            return "is missing"
        if header is not None and zlib.crc32(header) != entry.header_crc32:
            return "was made for another shape, dtype, layout or mesh"
        with file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            if size != entry.bytes:
                return f"has {size} bytes, not {entry.bytes}"
            if zlib.crc32(opened.read(entry.header_bytes)) != entry.header_crc32:
                return "is damaged in its header"
            return _problem_of_parts(opened.fileno(), entry)

    # ---------------------------------------------------------------- writing

    def write(
        self,
        name: str,
        header: tensorbin.Header,
        make_part: Callable[[int], torch.Tensor],
        identity: Identity,
        source: Source,
        tokenizer: Path,
    ) -> None:
        """Makes, packs and writes a file, unless another process has just done so; waits while one is at it.

        `make_part(k)` gives part k, of header.shape. What stands in the folder of another identity is removed, and the
        tokenizer, if there is one, copied. Raises OSError if it cannot be written.
        """
        with exclusive(self.folder, wait=True):
            self._read()
            if self.identity != identity:
                self._begin(identity, source, tokenizer)
            if self.problem(name, tensorbin.encode(header)):
                self._write_file(name, lambda to: write_packed(to, header, make_part))

    def _begin(self, identity: Identity, source: Source, tokenizer: Path) -> None:
        (self.folder / INDEX).unlink(missing_ok=True)
        for file in self.folder.glob(f"*{SUFFIX}"):
            file.unlink()
        self.identity, self.source, self.files = identity, source, {}
        if tokenizer.is_file():
            self._write_file(TOKENIZER, lambda to: _copied(tokenizer, to))

    def _write_file(self, name: str, write: Callable[[Path], FileEntry]) -> None:
        entries: list[FileEntry] = []
        write_durably(self.folder / name, lambda to: entries.append(write(to)))
        self.files[name] = entries[0]
        self._write_index()

    # ---------------------------------------------------------------- the index

    def _read(self) -> None:
        index = self.folder / INDEX
        if not index.is_file():
            return
        try:
            values = json.loads(index.read_text(encoding="utf-8"))
            content = values["content"]
            if values["crc32"] != _crc32_of(content):
                raise ValueError("its checksum is wrong")
            if content["identity"]["format_version"] == FORMAT_VERSION:
                self.identity, self.source = Identity(**content["identity"]), Source(**content["source"])
                self.files = {name: FileEntry(**entry) for name, entry in content["files"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{index} is damaged ({error!r}); delete the folder {self.folder}") from error

    def _write_index(self) -> None:
        assert self.identity is not None
        assert self.source is not None
        content = {
            "identity": asdict(self.identity),
            "source": asdict(self.source),
            "files": {name: asdict(entry) for name, entry in sorted(self.files.items())},
        }
        values = {"content": content, "crc32": _crc32_of(content)}
        write_text_durably(self.folder / INDEX, json.dumps(values, indent=1) + "\n")


def write_packed(file: Path, header: tensorbin.Header, make_part: Callable[[int], torch.Tensor]) -> FileEntry:
    """Writes a `.tensorbin` file of parts made one by one, a few at a time: what `ttnn.dump_tensor` writes."""
    head = tensorbin.encode(header)
    stride = header.part_stride

    with file.open("wb") as opened:
        descriptor = opened.fileno()

        def write_part(k: int) -> int:
            packed = tensorbin.pack(make_part(k), header.dtype, header.layout).numpy().data
            padding = bytes(stride - header.part_bytes) if k < header.n_parts - 1 else b""
            _write_at(descriptor, packed, len(head) + k * stride)
            _write_at(descriptor, padding, len(head) + k * stride + header.part_bytes)
            return zlib.crc32(padding, zlib.crc32(packed))

        _write_at(descriptor, head, 0)
        with ThreadPoolExecutor(CONVERTING) as pool:
            crc32s = list(pool.map(write_part, range(header.n_parts)))
    return FileEntry(len(head) + header.data_bytes, len(head), zlib.crc32(head), stride, crc32s)


def _copied(source: Path, to: Path) -> FileEntry:
    content = source.read_bytes()
    to.write_bytes(content)
    return FileEntry(len(content), 0, 0, len(content), [zlib.crc32(content)])


def _problem_of_parts(descriptor: int, entry: FileEntry) -> str:
    starts = range(entry.header_bytes, entry.bytes, entry.part_stride)
    with ThreadPoolExecutor(CHECKING) as pool:
        found = pool.map(
            lambda start: _crc32_at(descriptor, start, min(entry.part_stride, entry.bytes - start)), starts
        )
        for part, (crc32, expected) in enumerate(zip(found, entry.parts_crc32, strict=True)):
            if crc32 != expected:
                return f"is damaged in part {part} of {len(starts)}"
    return ""


def _crc32_at(descriptor: int, start: int, n_bytes: int) -> int:
    buffer = memoryview(bytearray(min(n_bytes, READ_BYTES)))
    crc32, end = 0, start + n_bytes
    while start < end:
        n_read = os.preadv(descriptor, [buffer[: end - start]], start)
        if n_read == 0:
            return -1  # the file has become shorter
        crc32 = zlib.crc32(buffer[:n_read], crc32)
        start += n_read
    return crc32


def _write_at(descriptor: int, data: Any, start: int) -> None:
    view = memoryview(data)
    while view:
        n_written = os.pwrite(descriptor, view, start)
        view, start = view[n_written:], start + n_written


def _crc32_of(content: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())
