"""The folder of a weight cache: `.tensorbin` files in ttnn's own format, and what vouches for them. Needs no ttnn.

    layers.0.attention.wqkv_dtype_BFLOAT8_B_layout_TILE.tensorbin    one file per tensor, all chips' parts in it
    weight_cache.json    whose weights, for which mesh, and each file's size and checksums; grows file by file
    tokenizer.model, ... copies of TOKENIZER_FILES, so that a start needs the cache alone

A file counts only if weight_cache.json names it, which it does after the file is synced to disk: a conversion that is
killed is taken up by the next. Every byte is compared with its checksum before anyone uses the file: first the header,
since ttnn crashes on a damaged one, then the parts.
"""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

import tensorbin
from models.mixtral8x7b.checkpoint.repacked import TOKENIZER_FILES
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.durable import exclusive, no_temporaries, shared, write_durably, write_text_durably
from models.mixtral8x7b.mistake import OF_THE_PROCESS, reason

INDEX = "weight_cache.json"
SUFFIX = ".tensorbin"
FORMAT_VERSION = 2
CONVERTING = 2  # parts at once: one waits for the disk while the other computes, on as many cores as torch uses
CHECKING = 4  # parts at once, READ_BYTES at a time: the most that was read on two cores
READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Identity:
    """What a cache is of. A cache that differs in any field is another cache."""

    format_version: int
    fingerprint: str  # of the repacked checkpoint
    conversion: int  # version of how the model lays its weights out
    mesh: str  # "1x8"
    ttnn: str  # version whose file format it is

    def differs_from(self, other: "Identity") -> str:
        """The first field that differs, for people: "its mesh is 1x4, not 1x8"; empty if none does."""
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
        Raises OSError for what is the process's own: too many open files, too little memory.

        With `header`, the file's must be this one.
        """
        entry = self.files.get(name)
        if entry is None:
            return "is missing"
        if header is not None and zlib.crc32(header) != entry.header_crc32:
            return "was made for another shape, dtype, layout or mesh"
        try:
            with (self.folder / name).open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                if size != entry.bytes:
                    return f"has {size} bytes, not {entry.bytes}"
                if zlib.crc32(opened.read(entry.header_bytes)) != entry.header_crc32:
                    return "is damaged in its header"
                return _problem_of_parts(opened.fileno(), entry)
        except FileNotFoundError:
            return "is missing"
        except OSError as error:
            if error.errno in OF_THE_PROCESS:
                raise
            return f"cannot be read ({error.strerror})"

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """The folder as it is now, which nobody changes meanwhile."""
        if not self.folder.is_dir():
            yield
            return
        with shared(self.folder):
            self._read()
            yield

    def tokenizer_files(self) -> list[str]:
        return [name for name in TOKENIZER_FILES if name in self.files]

    def has_tokenizer(self, checkpoint: Path) -> bool:
        """Whether the copies are of a folder's tokenizer; also true where there is no other than the copies."""
        theirs = _tokenizer_of(checkpoint)
        if not theirs or checkpoint == self.folder:
            return True
        copied = {name: self.files[name] for name in self.tokenizer_files()}
        return {file.name: _entry_of(file.read_bytes()) for file in theirs} == copied and not any(
            self.problem(name) for name in copied
        )

    # ---------------------------------------------------------------- writing

    def keep_tokenizer(self, checkpoint: Path) -> None:
        """Copies the tokenizer of a folder in the place of another. Raises OSError if it cannot."""
        with exclusive(self.folder, wait=True):
            self._read()
            self._copy_tokenizer(checkpoint)

    def write(
        self,
        name: str,
        header: tensorbin.Header,
        make_part: Callable[[int], torch.Tensor],
        identity: Identity,
        source: Source,
        checkpoint: Path,
    ) -> None:
        """Makes, packs and writes a file, unless another process has just done so; waits while one is at it.

        `make_part(k)` gives part k, of header.shape. What stands in the folder of another identity is removed, and the
        tokenizer in the folder `checkpoint`, if there is one, copied. Raises OSError if it cannot be written,
        CheckpointError if the folder holds somebody else's files.
        """
        with exclusive(self.folder, wait=True):
            self._read()
            self._check_is_ours()
            with no_temporaries(self.folder):
                if self.identity != identity:
                    self._begin(identity, source, checkpoint)
                if self.problem(name, tensorbin.encode(header)):
                    self._write_file(name, lambda to: write_packed(to, header, make_part))

    def _check_is_ours(self) -> None:
        if self.identity is None and any(self.folder.glob(f"*{SUFFIX}")):
            raise CheckpointError(
                f"{self.folder} holds {SUFFIX} files without {INDEX}, so of another program; set MIXTRAL_CACHE_PATH to "
                "another folder, or delete this one"
            )

    def _begin(self, identity: Identity, source: Source, checkpoint: Path) -> None:
        self.identity, self.source, self.files = identity, source, {}
        self._write_index()
        for file in self.folder.glob(f"*{SUFFIX}"):
            file.unlink()
        self._copy_tokenizer(checkpoint)

    def _copy_tokenizer(self, checkpoint: Path) -> None:
        files = _tokenizer_of(checkpoint)
        for file in files:
            self._write_file(file.name, partial(_copied, file))
        for name in set(TOKENIZER_FILES) - {file.name for file in files}:
            if self.files.pop(name, None):
                self._write_index()
            (self.folder / name).unlink(missing_ok=True)

    def _write_file(self, name: str, write: Callable[[Path], FileEntry]) -> None:
        entries: list[FileEntry] = []
        write_durably(self.folder / name, lambda to: entries.append(write(to)))
        self.files[name] = entries[0]
        self._write_index()

    # ---------------------------------------------------------------- the index

    def _read(self) -> None:
        self.identity, self.source, self.files = None, None, {}
        index = self.folder / INDEX
        if not index.is_file():
            return
        try:
            values = json.loads(index.read_text(encoding="utf-8"))
            content = values["content"]
            if values["crc32"] != _crc32_of(content):
                raise ValueError("its checksum is wrong")
            version = content["identity"]["format_version"]
            if version != FORMAT_VERSION:
                self.identity = Identity(version, "unknown", 0, "unknown", "unknown")
                return
            self.identity, self.source = Identity(**content["identity"]), Source(**content["source"])
            self.files = {name: FileEntry(**entry) for name, entry in content["files"].items()}
        except OSError as error:
            raise CheckpointError(
                f"{index} cannot be read ({reason(error)}); mend this, or set MIXTRAL_CACHE_PATH to another folder"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"{index} is damaged; delete the folder {self.folder}") from error

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


def _tokenizer_of(folder: Path) -> list[Path]:
    return [folder / name for name in TOKENIZER_FILES if (folder / name).is_file()]


def _copied(source: Path, to: Path) -> FileEntry:
    content = source.read_bytes()
    to.write_bytes(content)
    return _entry_of(content)


def _entry_of(content: bytes) -> FileEntry:
    """Of a file that is no tensor: one part, no header."""
    return FileEntry(len(content), 0, 0, max(1, len(content)), [zlib.crc32(content)] if content else [])


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
