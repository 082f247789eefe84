"""docs/silicon.md is what tests/data says."""

import re

from tests.sim import verdicts
from tests.sim.report import PAGE, REPOSITORY, page

# Of an operation whose bits differ: the last places depend on the order in which this machine's torch adds.
_MEASURED = re.compile(r"\| 0\.\d+ \| \d+ \| [\d.]+% \| [\d.]+ \|")


def test_the_page_is_up_to_date() -> None:
    kept, made = (_MEASURED.sub("| measured |", text) for text in (PAGE.read_text(), page()))
    assert kept == made, "make it anew: .venv/bin/python -m tests.sim.report"
    assert kept.count("measured |") > 10


def test_every_verdict_is_of_a_test_that_exists() -> None:
    for found in verdicts.read().values():
        for test in found["tests"]:
            file, _, name = test.partition("::")
            assert f"def {name.partition('[')[0]}(" in (REPOSITORY / file).read_text(), f"{test} is gone: drop it"
