"""Runs a program, kills it with SIGKILL at random points of its work, and runs it again until it is done."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STARTED = "started"


def start(code: str) -> subprocess.Popen:
    """A Python program that has done what stands before the line `# work`, its imports, when this returns."""
    imports, work = code.split("# work\n")
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{imports}\nprint({STARTED!r}, flush=True)\n{work}"
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == STARTED
    return process


def seconds_of(code: str) -> float:
    """How long the work takes if nobody disturbs it."""
    process, began = start(code), time.monotonic()
    assert process.wait() == 0
    return time.monotonic() - began


def run_with_kills(
    code: str, n_kills: int, seconds: float, after_kill: Callable[[], None], start_over: Callable[[], None]
) -> None:
    """Kills n_kills runs at random points, calls after_kill each time, then lets one run to its end.

    `seconds` is how long the work takes. A run that ends before it is killed is forgotten by start_over, and the points
    move nearer to the start: however fast the machine is, n_kills runs are killed at work.
    """
    delays = random.Random(0)
    while n_kills:
        process = start(code)
        time.sleep(delays.uniform(0, seconds))
        process.send_signal(signal.SIGKILL)
        if process.wait() == -signal.SIGKILL:
            n_kills -= 1
            after_kill()
        else:
            start_over()
            seconds /= 2
    assert start(code).wait() == 0


def inodes(folder: Path, pattern: str) -> dict[str, int]:
    """What tells whether a file was written anew."""
    return {file.name: os.stat(file).st_ino for file in folder.glob(pattern)}
