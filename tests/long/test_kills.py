"""Twenty kills of a repack and of a conversion; in `make test` they are five and three.

.venv/bin/python -m pytest tests/long/test_kills.py
"""

from pathlib import Path

from tests.checkpoint.test_resume import check_kills as check_kills_of_repack
from tests.checkpoint.test_resume import large  # noqa: F401
from tests.tt.weight_cache_cases import cache, repacked  # noqa: F401
from tests.tt.weight_cache_cases import check_kills as check_kills_of_conversion


def test_a_repack_killed_twenty_times_ends_the_same(large: Path, tmp_path: Path) -> None:
    check_kills_of_repack(large, tmp_path / "out", 20)


def test_a_conversion_killed_twenty_times_ends_the_same(repacked: Path, cache: Path, tmp_path: Path) -> None:
    check_kills_of_conversion(repacked, cache, tmp_path / "cache", 20)
