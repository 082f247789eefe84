"""Archives with something else in them, compilers that do not work, what pip wrote, the script, the variable."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from models.mixtral8x7b.settings import Settings
from tests.virtual_t3000.package_index import MAGIC, library_of, sfpi_entries, tar_of
from tests.virtual_t3000.test_sfpi import ROOT, put
from virtual_t3000 import sfpi, sfpi_wheel
from virtual_t3000.sfpi import SfpiError, sfpi_version, version_ttnn_names
from virtual_t3000.sfpi_archive import unpack
from virtual_t3000.sfpi_probe import prove
from virtual_t3000.sfpi_wheel import JAX_TT_PLUGIN

SCRIPT = ROOT / "scripts" / "get_sfpi.py"


@pytest.mark.parametrize("name", ["include/../../../evil", "compiler/riscv-tt-elf/include/../../../../evil"])
def test_nothing_lands_outside(name: str, tmp_path: Path) -> None:
    with pytest.raises(SfpiError, match=f"not a plain file inside it: 'runtime/sfpi/{name}'"):
        unpack(library_of(tar_of({f"runtime/sfpi/{name}": "evil"})), tmp_path / "a" / "b" / "sfpi")
    assert not list(tmp_path.rglob("evil"))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    with pytest.raises(SfpiError, match="not a plain file inside it: 'runtime/sfpi/include/sfpi.h'"):
        unpack(library_of(tar_of({}, link="runtime/sfpi/include/sfpi.h")), tmp_path)


def test_a_library_without_it(tmp_path: Path) -> None:
    library = library_of(tar_of({"runtime/other": "text"}))
    with pytest.raises(SfpiError, match=r"no SFPI in the library: 5 places in its \d+ bytes begin as a zstd frame"):
        unpack(library, tmp_path)
    whole = library_of(tar_of(sfpi_entries() | {"runtime/sfpi/include/long": "".join(map(str, range(99_999)))}))
    with pytest.raises(SfpiError, match="the archive with SFPI is damaged"):
        unpack(whole[: -len(MAGIC) - 50_000], tmp_path)


BROKEN = {
    "echo 'gcc 15'": "is no SFPI compiler: it calls itself 'gcc 15'",
    "echo 'cc1plus: error while loading shared libraries: libmpc.so.3: gone' >&2; exit 1": "apt install libmpc3",
    "echo 'all is well'": "made no ELF file of a small program for -mcpu=tt-wh",
    "echo 'note: x'>&2; echo 'probe.cpp:1: error: y' >&2; exit 1": "exit status 1: probe.cpp:1: error: y",
}


@pytest.mark.parametrize(("script", "message"), BROKEN.items(), ids=range(4))
def test_a_compiler_that_does_not_work(script: str, message: str, tmp_path: Path) -> None:
    folder = put(tmp_path / "sfpi", f"#!/bin/sh\n{script}\n")
    check = sfpi_version if "calls itself" in message else lambda folder: prove(folder, tmp_path)
    with pytest.raises(SfpiError, match=message):
        check(folder)


def test_a_compiler_of_another_machine(tmp_path: Path) -> None:
    with pytest.raises(SfpiError, match="riscv-tt-elf-g\\+\\+ does not run .Exec format error."):
        sfpi_version(put(tmp_path / "sfpi", "\0\0\0\0"))


PIP_WROTE = {
    "/usr/bin/python3: No module named pip": "has no pip to fetch jax_tt_plugin.* -m ensurepip` brings it",
    "ERROR: due to an OSError: [Errno 28] No space left on device": "the disk became full .* room for 167 MB",
    "ERROR: No matching distribution found for x": "could not fetch .*: No matching distribution found for x; it takes",
    "WARNING: Retrying (Retry()) after connection broken by 'ProxyError('x')'": r"not be reached for .* \(ProxyError\)",
    "": "it said nothing",
}


@pytest.mark.parametrize(("wrote", "message"), PIP_WROTE.items(), ids=range(5))
def test_what_pip_wrote(wrote: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.CompletedProcess([], 1, stderr=wrote)
    monkeypatch.setattr(sfpi_wheel.subprocess, "run", lambda *_, **__: ended)
    with pytest.raises(SfpiError, match=message):
        sfpi_wheel.download(JAX_TT_PLUGIN, tmp_path)


def test_settings_of_uv_serve_where_pip_has_none() -> None:
    for_uv = {"UV_DEFAULT_INDEX": "http://mirror/simple", "SSL_CERT_FILE": "/a"}
    assert sfpi_wheel._settings(for_uv) == {**for_uv, "PIP_INDEX_URL": "http://mirror/simple", "PIP_CERT": "/a"}
    both = {**for_uv, "PIP_INDEX_URL": "http://own/simple", "REQUESTS_CA_BUNDLE": "/b"}
    assert sfpi_wheel._settings(both) == both


def test_the_version_that_ttnn_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(sfpi.PathFinder, "find_spec", lambda name: spec)
    assert version_ttnn_names() is None
    (tmp_path / "tt_metal").mkdir()
    (tmp_path / "tt_metal" / "sfpi-version").write_text("# sfpi\nsfpi_version='7.89.0'\n")
    assert version_ttnn_names() == "7.89.0"
    monkeypatch.setattr(sfpi.PathFinder, "find_spec", lambda name: None)
    assert version_ttnn_names() is None


def test_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("get_sfpi", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(sys, "argv", ["get_sfpi.py"])
    monkeypatch.setattr(sfpi, "INSTALLED", tmp_path / "opt")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a cache"))
    folder = put(tmp_path / "a cache" / "mixtral8x7b-ttnn" / "sfpi-7.87.0")
    script.main()
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"SFPI 7.87.0 is in {folder}; the installed ttnn names ")
    assert last == f"export MIXTRAL_SFPI='{folder}'"

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["get_sfpi.py", "--again"])
    monkeypatch.setattr(sfpi, "fetch_sfpi", stopped)
    with pytest.raises(SystemExit, match="130"):
        script.main()
    assert capsys.readouterr().err == "get_sfpi: stopped; run the same command again\n"


def test_the_old_name_of_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIXTRAL_SFPI", raising=False)
    monkeypatch.setenv("MIXTRAL_MOCK_SFPI", "/old")
    assert Settings.from_environment().sfpi == Path("/old")
    monkeypatch.setenv("MIXTRAL_SFPI", "/new")
    assert Settings.from_environment().sfpi == Path("/new")
