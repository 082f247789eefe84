"""Python in a process of its own: the simulator, a dispatch mode and a ttnn are for the whole of one."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def start(arguments: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    """As if no chips had been set up in this process; `variables` are added to its environment."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TT_METAL_", "TTNN_"))}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=inherited | variables,
        capture_output=True,
        text=True,
        check=False,
    )


def run(arguments: list[str], **variables: str) -> str:
    """What it prints; fails with what it complains of."""
    done = start(arguments, **variables)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
