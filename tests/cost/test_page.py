"""docs/cost_model.md and docs/performance.md hold what the model says today.

.venv/bin/python -m pytest --target cpu tests/cost/test_page.py
"""

from tests.cost.page import pages


def test_the_pages_are_up_to_date() -> None:
    for file, text in pages().items():
        assert file.read_text(encoding="utf-8") == text, "make them anew: .venv/bin/python -m tests.cost.page"
        assert "modelled" in text.lower()
