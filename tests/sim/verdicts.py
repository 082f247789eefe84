"""What came out of the tests on simulated chips, kept for docs/silicon.md."""

import datetime
import json
from pathlib import Path
from typing import Any

import pytest

FILE = Path(__file__).resolve().parents[1] / "data" / "simulated.json"
LABELS = ("released", "changed")  # ttsim as it is published, or with the changes that docs/silicon.md describes


class Verdicts:
    """A pytest plugin: adds the outcome of every test that ran to the file."""

    def __init__(self, label: str, n_chips: int) -> None:
        self._label, self._chips = label, str(n_chips)
        self._found: dict[str, dict[str, Any]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.outcome != "passed":
            verdict: dict[str, Any] = {
                "outcome": report.outcome,
                "seconds": round(report.duration),
                "date": datetime.date.today().isoformat(),
                "measured": {name: str(value) for name, value in report.user_properties},
            }
            if report.skipped and isinstance(report.longrepr, tuple):
                verdict["reason"] = report.longrepr[2].removeprefix("Skipped: ")
            self._found[report.nodeid] = verdict

    def pytest_sessionfinish(self) -> None:
        from tests.recorded.record import provenance

        kept = read()
        kept.setdefault(self._label, {"provenance": {}, "tests": {}})
        kept[self._label]["provenance"][self._chips] = provenance()
        kept[self._label]["tests"] |= self._found
        FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


def read() -> dict[str, Any]:
    """By label: `provenance` by number of chips, and under `tests` a verdict for each test id."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}
