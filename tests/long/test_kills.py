"""Twenty kills of a repack; five are in tests/weights/test_resume.py.

.venv/bin/python -m pytest tests/long/test_kills.py
"""

from pathlib import Path

from tests.weights.test_resume import check_kills, large  # noqa: F401


def test_a_repack_killed_twenty_times_ends_the_same(large: Path, tmp_path: Path) -> None:  # noqa: F811
    check_kills(large, tmp_path / "out", 20)
