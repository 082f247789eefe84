"""Clients of others' making, each in an environment of its own: what they need does not go with what we need."""

import subprocess
import sys
from pathlib import Path

import pytest


def environment(folder: Path, *packages: str) -> Path:
    """The folder of these packages' programs, newly installed there. Where they cannot be had the test is skipped."""
    uv = (sys.executable, "-m", "uv", "--quiet")
    subprocess.run([*uv, "venv", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    install = [*uv, "pip", "install", "--python", python, *packages]
    if (installed := subprocess.run(install, capture_output=True, text=True)).returncode:
        why = " ".join(installed.stderr.split())[:200]
        pytest.skip(f"{', '.join(packages)} cannot be installed, the package index may not answer ({why})")
    return python.parent
