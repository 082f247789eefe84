"""`mixtral serve` as a process of its own, as people start it, over the tiny checkpoint on the cpu target."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def serving_process(
    folder: Path, *options: str, python: Path | str = sys.executable
) -> Iterator[tuple[subprocess.Popen, str]]:
    """(the process, its address). Its log is written into the folder."""
    log = folder / "log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")}
    command = [str(python), "-m", "models.mixtral8x7b.cli", "serve", "--port", "0", "--target", "cpu", *options]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=file, stdout=file)
    try:
        while "serving on" not in log.read_text():
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
        yield process, log.read_text().split("serving on ")[1].split()[0]
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
