"""The private runtime root: the folder that ttnn takes for its own, so that it writes nothing into the real one.

ROOT/tt_metal, ROOT/ttnn, ROOT/runtime/hw   links to the installed wheel
ROOT/runtime/sfpi/                          the stand-in compiler, or a link to a real one
ROOT/t3000.yaml, ROOT/empty_kernel.elf      the cluster descriptor; what the stand-in compiler gives
ROOT/kernels/                               ttnn's kernel cache; a run on real chips never sees these kernels
ROOT/logs/                                  what ttnn would write to the working directory, a folder for each process
"""

import hashlib
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path

from mock_t3000.cluster import descriptor
from mock_t3000.empty_kernel import empty_kernel

find_spec = PathFinder.find_spec  # looks on disk only: in this process `ttnn` may be another module

# ttnn starts the compiler through a shell without quoting
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./+@%:=,-]+")
_COMPILER = Path("runtime/sfpi/compiler/bin/riscv-tt-elf-g++")
_WRITTEN_BY_TTNN = ("kernels", "logs")
_STAND_IN = Path(__file__).with_name("stand_in_compiler.sh")


class MockError(Exception):
    """The mock cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class _Contents:
    """What a root holds besides kernels and logs, by path under it."""

    links: Mapping[str, Path]
    files: Mapping[str, bytes]

    @classmethod
    def of(cls, wheel: Path, sfpi: Path | None) -> "_Contents":
        links = {"tt_metal": wheel / "tt_metal", "ttnn": wheel / "ttnn", "runtime/hw": wheel / "runtime" / "hw"}
        files = {"t3000.yaml": descriptor().encode()}
        if sfpi is not None:
            links["runtime/sfpi"] = sfpi
        else:
            files |= {str(_COMPILER): _STAND_IN.read_bytes(), "empty_kernel.elf": empty_kernel()}
        return cls(links, files)

    def digest(self) -> str:
        parts = [*((name, str(target).encode()) for name, target in self.links.items()), *self.files.items()]
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]

    def write(self, root: Path) -> None:
        for name in (*self.links, *self.files):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
        for name, target in self.links.items():
            (root / name).symlink_to(target)
        for name, content in self.files.items():
            (root / name).write_bytes(content)
            (root / name).chmod(0o755 if name == str(_COMPILER) else 0o644)
        for name in _WRITTEN_BY_TTNN:
            (root / name).mkdir()

    def are_in(self, root: Path) -> bool:
        """Whether the root is whole: every link and every file's text. ttnn itself sees to damaged kernels."""
        try:
            return (
                all((root / name).readlink() == target for name, target in self.links.items())
                and all((root / name).read_bytes() == content for name, content in self.files.items())
                and os.access(root / _COMPILER, os.X_OK)
                and all((root / name).is_dir() for name in (*_WRITTEN_BY_TTNN, *self.links))
            )
        except OSError:
            return False


def make_root(folder: Path, sfpi: Path | None = None) -> Path:
    """The root for the installed ttnn, made in `folder` if it is not there or damaged.

    Its name carries ttnn's version and a hash of all that it holds, so another version's is never taken for it. It
    appears whole, so two processes may ask at once. Raises MockError.
    """
    wheel = installed_ttnn()
    if sfpi is not None and not os.access(sfpi / "compiler" / "bin" / _COMPILER.name, os.X_OK):
        raise MockError(f"{sfpi} holds no SFPI compiler (compiler/bin/{_COMPILER.name})")
    contents = _Contents.of(wheel, sfpi.absolute() if sfpi is not None else None)
    root = _usable(folder) / f"mock-t3000-ttnn-{version('ttnn')}-{contents.digest()}"
    if contents.are_in(root):
        return root
    workshop = Path(tempfile.mkdtemp(dir=root.parent, prefix=f"{root.name}."))
    try:
        contents.write(workshop / "root")
        if os.path.lexists(root):  # damaged
            root.rename(workshop / "damaged")
        (workshop / "root").rename(root)
    except OSError as error:
        if not contents.are_in(root):  # otherwise another process was first
            raise MockError(f"cannot make {root}: {error}") from error
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return root


def installed_ttnn() -> Path:
    """The folder of the wheel; raises MockError where there is none."""
    spec = find_spec("ttnn")
    if spec is None or not spec.submodule_search_locations:
        raise MockError(
            "the ttnn package is not installed; its wheels are for Linux on x86-64 with Python 3.10 or 3.12, and this "
            f"is {sys.platform} with Python {sys.version_info.major}.{sys.version_info.minor}: set up again with one "
            "of them, or use target cpu"
        )
    return Path(spec.submodule_search_locations[0]).absolute()


def _usable(folder: Path) -> Path:
    """`folder`, or where its path cannot be given to a shell bare, one of this user's in the temporary directory."""
    candidates = [folder.expanduser().absolute(), *_temporary_folders()]
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
    raise MockError(
        "no folder to keep the mock's files in: tried " + ", ".join(map(str, candidates)) + "; the path must have no "
        "spaces and be writable (XDG_CACHE_HOME or TMPDIR chooses it)"
    )


def _temporary_folders() -> list[Path]:
    return [Path(path) / f"mock-t3000-{os.getuid()}" for path in (tempfile.gettempdir(), "/tmp")]
