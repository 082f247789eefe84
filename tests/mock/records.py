"""The model's calls as both libraries saw them."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.mock.chip_usage import L1, Usage

REPOSITORY = Path(__file__).resolve().parents[2]
Sections = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Records:
    cpu: Sections
    mock: Sections
    usages: list[Usage]  # of the mock's programs


def make_records(folder: Path) -> Records:
    """Runs `program` on both targets at once, each in a process of its own."""
    files = [folder / f"{target}.json" for target in ("cpu", "mock")]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.mock.program", file.stem, str(file)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for file in files
    ]
    outputs = [process.communicate()[0] for process in running]
    for process, output in zip(running, outputs, strict=True):
        assert process.returncode == 0, output
    cpu, mock = (json.loads(file.read_text()) for file in files)
    found = [Usage(**{**usage, "l1": L1(**usage["l1"])}) for usage in mock["usages"]]
    return Records(cpu["sections"], mock["sections"], found)
