"""The weight cache's files are those of the real ttnn, which reads them."""

from pathlib import Path

import pytest

from tests.tt.weight_cache_cases import check_files, repacked  # noqa: F401


@pytest.mark.parametrize("n_devices", [1, 8])
def test_the_file_is_the_one_that_ttnn_writes(repacked: Path, tmp_path: Path, n_devices: int) -> None:
    check_files(repacked, tmp_path, n_devices)
