"""Takes SFPI out of a library that carries it: a zstd frame somewhere in the file, which holds a tar.

Unpacked is only what compiling for Wormhole calls or reads; what those programs are was recorded while ttnn built the
kernels of this project. The archive lacks Wormhole's library folders (GCC calls the variant wh-ilp32): the default ones
serve, so they are completed from these.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from zstandard import ZstdDecompressor, ZstdError

from virtual_t3000.sfpi_wheel import SfpiError

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PREFIX = "runtime/sfpi/"
_WORMHOLE = "wh-ilp32"
_OTHER_CHIPS = re.compile(rf".*/(?!{_WORMHOLE}/)\w+-i?lp(32|64)/.*")
_WANTED = re.compile(
    rf"""include/.*
    |compiler/bin/riscv-tt-elf-g\+\+
    |compiler/riscv-tt-elf/bin/(as|ld)
    |compiler/libexec/gcc/riscv-tt-elf/[^/]+/(cc1plus|lto1|lto-wrapper|collect2|liblto_plugin\.so)
    |compiler/lib/gcc/riscv-tt-elf/[^/]+/(({_WORMHOLE}/)?([^/]+\.o|libgcc\.a)|include(-fixed)?/.*)
    |compiler/riscv-tt-elf/include/.*
    |compiler/riscv-tt-elf/lib/(({_WORMHOLE}/)?[^/]+\.(o|a|specs)|ldscripts/elf32lriscv\.\w+)""",
    re.VERBOSE,
)
# by folder under compiler/ (the star is GCC's version): what is Wormhole's as it is everybody's
_COMPLETED = (
    ("lib/gcc/riscv-tt-elf/*", ("*.o", "*.a")),
    ("riscv-tt-elf/lib", ("*.o", "*.a", "*.specs")),
    ("riscv-tt-elf/include/c++/*/riscv-tt-elf", ("bits/*", "ext/*")),
)


def unpack(library: bytes, folder: Path) -> None:
    """Writes what Wormhole needs of the SFPI in the library into the folder. Raises SfpiError, and OSError."""
    places = _places(library)
    for tar in _archives(library, places):
        try:
            n_files = sum(_unpacked(tar, member, folder) for member in tar)
        except (ZstdError, tarfile.TarError, EOFError) as error:
            raise SfpiError(f"the archive with SFPI is damaged ({error}); fetch it again") from error
        if n_files:
            _complete(folder / "compiler")
            return
    raise SfpiError(
        f"no SFPI in the library: {len(places)} places in its {len(library)} bytes begin as a zstd frame does, and "
        f"none is a tar with {_PREFIX}; only the pinned version of the package is known to carry it"
    )


def _places(library: bytes) -> list[int]:
    return [match.start() for match in re.finditer(re.escape(_ZSTD_MAGIC), library)]


def _archives(library: bytes, places: list[int]) -> Iterator[tarfile.TarFile]:
    """Those of the places where a tar really begins. Four bytes alone say little."""
    for place in places:
        stream = ZstdDecompressor().stream_reader(memoryview(library)[place:])
        try:
            tar = tarfile.TarFile.open(fileobj=stream, mode="r|")
        except (ZstdError, tarfile.TarError, EOFError):
            continue
        with tar:
            yield tar


def _unpacked(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> bool:
    """Writes the member if it is a wanted one: plain files only, under the folder.

    That is stricter than tarfile's data filter, which early releases of Python 3.10 and 3.11 lack.
    """
    if member.isdir() or not member.name.startswith(_PREFIX):
        return False
    name = member.name.removeprefix(_PREFIX)
    if not _WANTED.fullmatch(name) or _OTHER_CHIPS.fullmatch(name):
        return False
    content = tar.extractfile(member) if member.isreg() else None
    if content is None or ".." in PurePosixPath(name).parts:
        raise SfpiError(
            f"the archive with SFPI has an entry that is not a plain file inside it: {member.name!r}; fetch it "
            "again, from another index"
        )
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as output:
        shutil.copyfileobj(content, output, 1 << 20)
    file.chmod(0o644 | member.mode & 0o111)
    return True


def _complete(compiler: Path) -> None:
    for where, patterns in _COMPLETED:
        for default in compiler.glob(where):
            for file in (file for pattern in patterns for file in default.glob(pattern) if file.is_file()):
                own = default / _WORMHOLE / file.relative_to(default)
                own.parent.mkdir(parents=True, exist_ok=True)
                if not own.exists():
                    _share(file, own)


def _share(file: Path, other: Path) -> None:
    """A second name of the file; a copy where the file system has no such thing."""
    try:
        os.link(file, other)
    except OSError:
        shutil.copy2(file, other)
