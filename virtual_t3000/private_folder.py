"""Folders of links and small files that ttnn is pointed at: each appears whole, and is made again when damaged."""

import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# ttnn starts the compiler through a shell without quoting
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+@%:=,-]+")


class VirtualChipsError(Exception):
    """Chips cannot be mocked or simulated here; the message says why and what to do."""


@dataclass(frozen=True)
class Contents:
    """What a folder holds, by path under it. `empty` are folders that others write to."""

    links: Mapping[str, Path]
    files: Mapping[str, bytes]
    programs: tuple[str, ...] = ()  # those of the files that are started
    empty: tuple[str, ...] = ()

    def digest(self) -> str:
        parts = [*((name, str(target).encode()) for name, target in self.links.items()), *self.files.items()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def write(self, folder: Path) -> None:
        folder.mkdir()
        for name in (*self.links, *self.files):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        for name, target in self.links.items():
            (folder / name).symlink_to(target)
        for name, content in self.files.items():
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o755 if name in self.programs else 0o644)
        for name in self.empty:
            (folder / name).mkdir()

    def are_in(self, folder: Path) -> bool:
        """Whether the folder is whole: every link, what it points at, and every file's text."""
        try:
            return (
                all((folder / name).readlink() == target for name, target in self.links.items())
                and all((folder / name).exists() for name in self.links)
                and all((folder / name).read_bytes() == content for name, content in self.files.items())
                and all(os.access(folder / name, os.X_OK) for name in self.programs)
                and all((folder / name).is_dir() for name in self.empty)
            )
        except OSError:
            return False


def make_folder(parent: Path, name: str, contents: Contents) -> Path:
    """The folder with these contents, made in `parent` if it is not there or damaged.

    A hash of what it holds is added to its name, so that it is never taken for another one. It appears whole: two
    processes may ask at once. If the path of `parent` has a space, it lies in the temporary directory: ttnn cannot
    start a compiler there. Raises VirtualChipsError.
    """
    folder = _usable(parent) / f"{name}-{contents.digest()}"
    if contents.are_in(folder):
        return folder
    try:
        workshop = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
    except OSError as error:
        raise VirtualChipsError(f"cannot make {folder}: {error.strerror or error}") from error
    try:
        contents.write(workshop / "new")
        if os.path.lexists(folder):  # damaged
            folder.rename(workshop / "damaged")
        (workshop / "new").rename(folder)
    except OSError as error:
        if not contents.are_in(folder):  # otherwise another process was first
            raise VirtualChipsError(f"cannot make {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return folder


def _usable(parent: Path) -> Path:
    """`parent`, or where its path cannot be given to a shell bare, one of this user's in the temporary directory."""
    candidates = [parent.absolute(), *_temporary_folders()]
    for candidate in candidates:
        if not _PLAIN_PATH.fullmatch(str(candidate)):
            continue
        try:
            candidate.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError:
            continue
        status = candidate.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and os.access(candidate, os.W_OK):
            return candidate
    raise VirtualChipsError(
        "no folder to keep the chips' files in: tried " + ", ".join(map(str, candidates)) + "; the path must have no "
        "spaces and be writable (XDG_CACHE_HOME or TMPDIR chooses it)"
    )


def _temporary_folders() -> list[Path]:
    return [Path(path) / f"virtual-t3000-{os.getuid()}" for path in (tempfile.gettempdir(), "/tmp")]
