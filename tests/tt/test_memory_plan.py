"""The memory plan at Mixtral 8x7B's own sizes. tests/mock checks it against ttnn's allocator."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import ttnn

from models.mixtral8x7b.config import MIXTRAL_8X7B, ConfigError
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.tt.memory_plan import BANKS, over_banks, plan, row_major, tiled
from models.mixtral8x7b.tt.precision import ACCURACY, PERFORMANCE

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "plan.py"


def blocks(users: int, context: int) -> int:
    return users * blocks_for(context)


def test_sizes_by_hand() -> None:
    assert tiled(64, 128, ttnn.bfloat8_b) == 1088  # 8 tiles, at most one in each of 12 banks
    assert tiled(64, 416, ttnn.bfloat16) == 3 * 2048  # 26 tiles: two banks get a third one
    assert row_major(13, 100) == 2 * 128  # rows at multiples of 64 bytes
    assert over_banks(4096, 14336, ttnn.bfloat8_b) == 128 * 38 * 1088  # 1216 columns in each bank


def test_weights_are_those_of_the_design() -> None:
    performance = plan(MIXTRAL_8X7B, PERFORMANCE, 8, blocks(32, 16384), 16384)
    assert 6.5e9 < sum(performance.weights().values()) * BANKS < 6.7e9
    assert performance.kv(1000 * BANKS) * BANKS == 1000 * BANKS * 64 * 8704
    accuracy = plan(MIXTRAL_8X7B, ACCURACY, 8, blocks(32, 16384), 16384)
    assert accuracy.weights()["experts"] == performance.weights()["experts"]
    assert accuracy.weights()["attention"] * 1088 == performance.weights()["attention"] * 2048


@pytest.mark.parametrize("precision", [PERFORMANCE, ACCURACY], ids=lambda precision: precision.name)
def test_the_promised_batches_fit_and_the_next_does_not(precision) -> None:
    for users, context in ((32, 4096), (32, 16384), (18, 32768)):
        plan(MIXTRAL_8X7B, precision, 8, blocks(users, context), context).check(blocks(users, context))
    planned = plan(MIXTRAL_8X7B, precision, 8, blocks(32, 32768), 32768)
    most = planned.users_at(32768)
    planned.check(blocks(most, 32768))
    with pytest.raises(ConfigError, match=f"B too many for a chip, .* use at most {most} users of 32768 tokens"):
        planned.check(blocks(most + 1, 32768))


def test_max_blocks_is_the_last_that_fits() -> None:
    planned = plan(MIXTRAL_8X7B, PERFORMANCE, 8, 20000, 32768)
    planned.check(planned.max_blocks)
    with pytest.raises(ConfigError):
        planned.check(planned.max_blocks + 1)


def run_script(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess:
    (tmp_path / "params.json").write_text(json.dumps(MIXTRAL_8X7B.to_params()))
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_script_prints_the_table_and_says_what_does_not_fit(tmp_path: Path) -> None:
    fits = run_script(tmp_path, ".", "--users", 32, "--context", 16384)
    assert (fits.returncode, fits.stderr) == (0, "")
    for part in (
        "weights: experts",
        "KV cache of 524,288 tokens",
        "activations",
        "trace region",
        "free",
        "users at 4k",
    ):
        assert part in fits.stdout
    too_many = run_script(tmp_path, ".", "--users", 32, "--context", 32768)
    assert too_many.returncode == 1
    assert "plan: 1,048,576 tokens of KV cache are" in too_many.stderr
    for arguments, message in (
        (("--precision", "best"), "plan: precision is 'best'"),
        (("--chips", 3), "plan: --users and --context must be at least 1, --chips 1, 2, 4 or 8"),
        (("--context", 40000), "plan: a context of 40000 tokens is too long"),
    ):
        failed = run_script(tmp_path, ".", *arguments)
        assert failed.returncode == 1
        assert message in failed.stderr
        assert "Traceback" not in failed.stderr
