"""A package index on this machine that has one wheel, and in it, where the real one has SFPI, a few small files."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import zstandard

from virtual_t3000.sfpi import Pin

MAGIC = b"\x28\xb5\x2f\xfd"
VERSION = "7.87.0"
_METADATA = (
    "Metadata-Version: 2.1\nName: sfpi-carrier\nVersion: 1.0\nRequires-Python: >=99\n"  # as the real one on 3.10
)
COMPILER = """#!/bin/sh
case "$1" in
--version) echo 'riscv-tt-elf-g++ (tenstorrent/sfpi:7.87.0[1023]) 15.1.0' ;;
*) while [ "$1" != -o ]; do shift; done; printf '\\177ELF' >"$2" ;;
esac
"""
_GCC, _CPP = "compiler/lib/gcc/riscv-tt-elf/15.1.0", "compiler/riscv-tt-elf/include/c++/15.1.0"
KEPT = {
    "compiler/bin/riscv-tt-elf-g++": COMPILER,
    "compiler/riscv-tt-elf/bin/as": "as",
    "compiler/libexec/gcc/riscv-tt-elf/15.1.0/cc1plus": "cc1plus",
    f"{_GCC}/crti.o": "crti",
    f"{_GCC}/libgcc.a": "libgcc",
    f"{_GCC}/include/stddef.h": "stddef",
    f"{_CPP}/array": "array",
    f"{_CPP}/riscv-tt-elf/bits/c++config.h": "config",
    f"{_CPP}/riscv-tt-elf/ext/opt_random.h": "random",
    "compiler/riscv-tt-elf/lib/crt0.o": "crt0",
    "compiler/riscv-tt-elf/lib/nosys.specs": "specs",
    "compiler/riscv-tt-elf/lib/ldscripts/elf32lriscv.x": "script",
    "include/sfpi.h": "sfpi",
}
COMPLETED = {
    f"{_GCC}/wh-ilp32/crti.o": "crti",
    f"{_GCC}/wh-ilp32/libgcc.a": "libgcc",
    f"{_CPP}/riscv-tt-elf/wh-ilp32/bits/c++config.h": "config",
    f"{_CPP}/riscv-tt-elf/wh-ilp32/ext/opt_random.h": "random",
    "compiler/riscv-tt-elf/lib/wh-ilp32/crt0.o": "crt0",
    "compiler/riscv-tt-elf/lib/wh-ilp32/nosys.specs": "specs",
}
LEFT_OUT = (
    *("compiler/bin/riscv-tt-elf-objdump", "compiler/libexec/gcc/riscv-tt-elf/15.1.0/cc1", f"{_GCC}/bh-ilp32/crti.o"),
    *("compiler/riscv-tt-elf/lib/bh-ilp32/crt0.o", f"{_CPP}/riscv-tt-elf/bh-ilp32/bits/c++config.h"),
    *("compiler/riscv-tt-elf/lib/libstdc++.a-gdb.py", "compiler/riscv-tt-elf/lib/ldscripts/elf64briscv.x"),
)


def tar_of(entries: Mapping[str, str], link: str | None = None) -> bytes:
    """A tar whose files are all executable, as in the real one, with a symbolic link if one is named."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, text in entries.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(text.encode()), 0o555
            tar.addfile(member, io.BytesIO(text.encode()))
        if link is not None:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return written.getvalue()


def library_of(tar: bytes) -> bytes:
    """Bytes that only look like a frame, a frame that is no tar, a tar without SFPI, then the tar."""
    compress = zstandard.compress
    frames = compress(b"no tar " * 500), compress(tar_of({"runtime/hw/file": "text"})), compress(tar)
    return b"\x7fELF" + MAGIC + b"no frame" + b"----".join(frames) + MAGIC


def sfpi_entries(compiler: str = COMPILER) -> dict[str, str]:
    entries = {**KEPT, "compiler/bin/riscv-tt-elf-g++": compiler, **dict.fromkeys(LEFT_OUT, "left out")}
    return {"tt_metal/file": "text", **{f"runtime/sfpi/{name}": text for name, text in entries.items()}}


def make_wheel(folder: Path, library: bytes | None = None) -> Pin:
    """Writes the wheel into the folder, and the pages that an index has beside it; what pins it."""
    content = library if library is not None else library_of(tar_of(sfpi_entries()))
    name = "sfpi_carrier-1.0-py3-none-any.whl"
    files: dict[str, str | bytes] = {
        "carrier/lib.so": content,
        "sfpi_carrier-1.0.dist-info/METADATA": _METADATA,
        "sfpi_carrier-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "sfpi_carrier-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(folder / name, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    page = folder / "simple" / "sfpi-carrier" / "index.html"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(f'<a href="/{name}">{name}</a>')
    packed = (folder / name).read_bytes()
    digest = hashlib.sha256(packed).hexdigest()
    return Pin("sfpi-carrier", "1.0", name, digest, len(packed), "carrier/lib.so", unpacked=5_000_000)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The URL of the index whose pages are in the folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
