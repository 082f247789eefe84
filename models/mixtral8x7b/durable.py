"""Files that survive a kill, a full disk and a second process: whole under their final name, or not there.

A file is written under a temporary name, synced to disk, then renamed. What a killed run leaves of temporary files the
next removes; its lock dies with it, since the operating system holds it. Not every file system has locks, or syncs a
folder: there, reading goes on as ever, and writing as well as it can.
"""

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from loguru import logger

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.sizes import size_text

_TEMPORARY = ".tmp"
SPARE_BYTES = 64 << 20  # left free on a disk beside what is going to be written
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)  # Lustre, CIFS, some FUSE
_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)  # CIFS, VirtualBox, some FUSE


class BusyError(Mistake):
    """Another process works in the folder."""


class DiskFullError(Mistake):
    """There is too little room; the message says how much is there and how much is needed."""


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Nobody holds the folder alone meanwhile: waits for whoever does. Where there are no locks, nobody can be waited
    for. Raises OSError if it cannot be opened."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        _flock(lock, fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


@contextmanager
def exclusive(folder: Path, wait: bool = False) -> Iterator[None]:
    """Holds the folder alone, made if need be. A folder that was made and is still empty is removed again.

    If another process holds it, waits for it or raises BusyError; where there are no locks, warns that nobody is kept
    out. Raises OSError if it cannot be made.
    """
    is_new = not folder.exists()
    lock = _locked(folder, wait)
    try:
        yield
    finally:
        if is_new and not any(folder.iterdir()):
            folder.rmdir()
        os.close(lock)


def _locked(folder: Path, wait: bool) -> int:
    """A descriptor of the folder that holds its lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY)
        try:
            if not _flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB)):
                _warn_of_no_locks(folder)
        except BlockingIOError:
            os.close(lock)
            raise BusyError(f"another process is writing to {folder}; wait for it to end") from None
        except BaseException:
            os.close(lock)
            raise
        if folder.exists() and os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
        os.close(lock)  # whoever held it has removed the folder


def _flock(descriptor: int, operation: int) -> bool:
    """False where the file system has no locks."""
    try:
        fcntl.flock(descriptor, operation)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    return True


@cache
def _warn_of_no_locks(folder: Path) -> None:
    logger.warning(f"the file system of {folder} has no locks; see to it that only one process writes there at a time")


@contextmanager
def no_temporaries(folder: Path) -> Iterator[None]:
    """Removes temporary files before, which killed runs left, and after. The folder must be ours alone."""
    _remove_temporaries(folder)
    try:
        yield
    finally:
        _remove_temporaries(folder)


def write_durably(file: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path), syncs what it wrote and gives it its name. An error leaves nothing behind."""
    temporary = temporary_of(file)
    try:
        write(temporary)
        sync(temporary)
        give_name(file)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_of(file: Path) -> Path:
    """Where to write what will become the file."""
    return file.with_name(file.name + _TEMPORARY)


def give_name(file: Path) -> None:
    """Gives the file's temporary, synced before, its final name."""
    temporary_of(file).replace(file)
    sync(file.parent)


def write_text_durably(file: Path, text: str) -> None:
    write_durably(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def sync(path: Path) -> None:
    """Forces a file's bytes, or a folder's names where the file system can do that, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (error.errno in _NO_SYNC_OF_FOLDERS and path.is_dir()):
            raise
    finally:
        os.close(descriptor)


def check_free_space(folder: Path, n_bytes: int) -> None:
    """Raises DiskFullError unless the disk of `folder` (which may not exist yet) has room for n_bytes."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes + SPARE_BYTES:
        raise DiskFullError(
            f"{folder} needs {size_text(n_bytes)} with {size_text(SPARE_BYTES)} left free beside it, and its disk has "
            f"{size_text(free)} free; make room or choose another folder"
        )


def _remove_temporaries(folder: Path) -> None:
    for pattern in (f"*{_TEMPORARY}", ".tmp??????"):  # the second is how safetensors names what it has not finished
        for file in folder.glob(pattern):
            if not file.is_dir():
                file.unlink()
