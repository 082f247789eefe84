"""A Python that has Ray beside all that this project has: an environment of its own, kept in the user's cache."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from models.mixtral8x7b.settings import Settings

RAY = "ray[serve]==2.60.0"


class NoRayError(Exception):
    """Why there is none."""


def python_with_ray() -> Path:
    """Raises NoRayError where Ray cannot be installed."""
    folder = Settings.from_environment().user_cache / f"{RAY}-py{sys.version_info.major}.{sys.version_info.minor}"
    python, done = folder / "bin" / "python", folder / "installed"
    if not done.is_file():
        venv.create(folder, clear=True)
        command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(python), RAY]
        installed = subprocess.run(command, capture_output=True, text=True, check=False)
        if installed.returncode:
            raise NoRayError(f"left out: {RAY} cannot be installed here ({installed.stderr.strip()[-200:]})")
        done.touch()
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    # behind its own packages those of whoever runs the tests: the clone that made it may be gone
    (own / "zz_project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
