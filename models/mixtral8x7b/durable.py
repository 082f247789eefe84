"""Files that survive a kill, a full disk and a second process: whole under their final name, or not there.

A file is written under a temporary name, synced to disk, then renamed. A run that is killed leaves at most one
`*.tmp` behind, which the next run removes; its lock dies with it, since the operating system holds it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp"
SPARE_BYTES = 64 << 20  # left free on a disk beside what is going to be written


class BusyError(Exception):
    """Another process works in the folder."""


class DiskFullError(Exception):
    """There is too little room; the message says how much is there and how much is needed."""


@contextmanager
def exclusive(folder: Path, wait: bool = False) -> Iterator[None]:
    """Holds the folder alone, made if need be, with no temporary file in it before and after.

    If another process holds it, waits for it or raises BusyError. Raises OSError if it cannot be made. Where nothing
    was written into a new folder it is removed again.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise BusyError(f"another process is writing to {folder}; wait for it to end") from None
        _remove_temporaries(folder)
        try:
            yield
        finally:
            _remove_temporaries(folder)
    finally:
        os.close(lock)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def write_durably(file: Path, write: Callable[[Path], object]) -> None:
    """Calls write(temporary path), syncs what it wrote and gives it its name. An error leaves nothing behind."""
    temporary = temporary_of(file)
    try:
        write(temporary)
        sync(temporary)
        give_name(temporary)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_of(file: Path) -> Path:
    """Where to write what will become the file."""
    return file.with_name(file.name + TEMPORARY)


def give_name(temporary: Path) -> None:
    """Gives a temporary file, synced before, its final name."""
    temporary.replace(temporary.with_name(temporary.name.removesuffix(TEMPORARY)))
    sync(temporary.parent)


def write_text_durably(file: Path, text: str) -> None:
    write_durably(file, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def sync(path: Path) -> None:
    """Forces a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_free_space(folder: Path, n_bytes: int) -> None:
    """Raises DiskFullError unless the disk of `folder` (which may not exist yet) has room for n_bytes."""
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < n_bytes + SPARE_BYTES:
        raise DiskFullError(
            f"{folder} needs {n_bytes / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free; make room or choose "
            "another folder"
        )


def _remove_temporaries(folder: Path) -> None:
    for pattern in (f"*{TEMPORARY}", ".tmp*"):  # the second is how safetensors names what it has not finished
        for file in folder.glob(pattern):
            file.unlink()
