"""docs/silicon.md is what tests/data says."""

from tests.sim.report import PAGE, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "make it anew: .venv/bin/python -m tests.sim.report"
