"""The memory plan at Mixtral 8x7B's own sizes. tests/mock checks it against ttnn's allocator."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ttnn

from models.mixtral8x7b.config import MIXTRAL_8X7B, ConfigError, MoeConfig
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.tt.memory_plan import BANKS, over_banks, plan, row_major, tiled
from models.mixtral8x7b.tt.precision import ACCURACY, BFP4, MIXED, PERFORMANCE, PRESETS
from tests.mock.program import MIXTRAL_8X22B, TINY

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
    for precision, fourths in ((MIXED, 2), (BFP4, 3)):  # of the three matrices those in bfp4
        planned = plan(MIXTRAL_8X7B, precision, 8, blocks(32, 16384), 16384)
        up, down = (over_banks(*shape, ttnn.bfloat8_b) for shape in ((4096, 14336), (14336, 4096)))
        narrow = (2 * up + (fourths == 3) * down) * 576 // 1088
        assert planned.weights()["experts"] == 32 * (narrow + (fourths == 2) * down)
        others = {"experts": planned.weights()["experts"]}
        assert planned.weights() == performance.weights() | others
        assert planned.activations() == performance.activations()


@pytest.mark.parametrize("precision", PRESETS.values(), ids=PRESETS)
def test_the_promised_batches_fit_and_the_next_does_not(precision) -> None:
    for users, context in ((32, 4096), (32, 16384), (18, 32768)):
        plan(MIXTRAL_8X7B, precision, 8, blocks(users, context), context).check(blocks(users, context))
    planned = plan(MIXTRAL_8X7B, precision, 8, blocks(32, 32768), 32768)
    most = planned.users_at(32768)
    planned.check(blocks(most, 32768))
    with pytest.raises(ConfigError, match=f"B too many for a chip, .* use at most {most} users of 32768 tokens"):
        planned.check(blocks(most + 1, 32768))


@pytest.mark.parametrize(
    ("precision", "tokens", "gigabytes"),
    [(PERFORMANCE, 610_624, 6.34), (ACCURACY, 590_464, 6.52), (MIXED, 830_400, 4.43), (BFP4, 941_632, 3.46)],
)
def test_what_the_documentation_says_of_each_preset(precision, tokens: int, gigabytes: float) -> None:
    """docs/precision.md: room for KV beside the largest pass, and what a decode step reads of a chip's weights."""
    planned = plan(MIXTRAL_8X7B, precision, 8, 20000, 32768)
    read = sum(planned.weights()[part] for part in ("experts", "attention", "router", "norms", "LM head"))
    assert (planned.kv_tokens, round(read * BANKS / 1e9, 2)) == (tokens, gigabytes)


def test_max_blocks_is_the_last_that_fits() -> None:
    planned = plan(MIXTRAL_8X7B, PERFORMANCE, 8, 20000, 32768)
    planned.check(planned.max_blocks)
    with pytest.raises(ConfigError):
        planned.check(planned.max_blocks + 1)


def test_users_are_told_of_contexts_that_the_model_has() -> None:
    def users(**changes: object) -> str:
        planned = plan(replace(MIXTRAL_8X7B, n_layers=1, **changes), PERFORMANCE, 8, 100, 128)
        return re.sub(r"(?<= )\d+(?=,|$)", "N", planned.table(100).rpartition("users at ")[2])

    assert users() == "4k N, 8k N, 16k N, 32k N"
    assert users(max_seq_len=2048) == "2k N"
    assert users(max_seq_len=5000) == "4k N, 5000 tokens N"
    assert users(max_seq_len=65536) == "4k N, 8k N, 16k N, 32k N, 64k N"
    assert users(sliding_window=4096) == "4k N"


def test_sizes_are_in_a_unit_that_fits_them() -> None:
    table = plan(TINY, PERFORMANCE, 8, 100, 128).table(100)
    assert "0.000" not in table
    assert re.search(r"weights: norms +\d+\.\d kB\n", table)
    assert re.search(r"weights: experts +\d+\.\d kB\n", table)
    assert re.search(r"one chip +12\.885 GB\n", table)
    assert re.search(r"weights: LM head +\d+\.\d MB\n", plan(MIXTRAL_8X7B, PERFORMANCE, 8, 1, 128).table(1))
    assert re.search(r"free +-\d+\.\d\d\d GB\n", plan(MIXTRAL_8X7B, PERFORMANCE, 8, 50000, 128).table(50000))


def test_what_would_fit_is_something() -> None:
    """No advice to use 0 users, or 0 tokens."""
    planned = plan(MIXTRAL_8X7B, PERFORMANCE, 8, 10, 64)
    most = planned.max_blocks
    with pytest.raises(ConfigError, match=f"fit: use at most {most} users of 64 tokens$"):
        planned.check(most + 1)
    with pytest.raises(ConfigError, match=rf"are [\d.]+ kB too many .* fit: use at most {most} users of 64 tokens"):
        planned.check(most + 1)
    narrow = plan(replace(MIXTRAL_8X7B, max_seq_len=1 << 20), PERFORMANCE, 8, 16384, 1 << 20)
    with pytest.raises(ConfigError, match=f"fit: use {narrow.kv_tokens} tokens for one user$"):
        narrow.check(16384)


def test_a_larger_relative_is_told_what_it_lacks() -> None:
    """8x22B: 56 layers of 6144 by 16384 are 19 GB for each of 8 chips."""
    with pytest.raises(
        ConfigError, match=r"no room for a KV cache: they are \d+\.\d\d\d GB too many for each of 8 chips"
    ):
        plan(MIXTRAL_8X22B, PERFORMANCE, 8, 100, 4096).check(100)
    assert plan(MIXTRAL_8X22B, PERFORMANCE, 8, 100, 4096).table(100).endswith("\nno room for a KV cache")
    fewer = replace(MIXTRAL_8X22B, n_layers=28)
    plan(fewer, PERFORMANCE, 8, 100, 4096).check(100)


def test_padding_is_counted() -> None:
    """32002 tokens on 8 chips are 4032 columns each, and a barrier of 126 tiles before those that are none."""
    even, odd = (plan(replace(MIXTRAL_8X7B, vocab_size=size), PERFORMANCE, 8, 1, 64) for size in (32256, 32002))
    assert even.weights() == odd.weights()
    assert odd.decode_state() - even.decode_state() == 11 * 2048
    limited = plan(MIXTRAL_8X7B, PERFORMANCE, 8, 1, 64, n_tokens=31999)
    assert limited.decode_state() - plan(MIXTRAL_8X7B, PERFORMANCE, 8, 1, 64).decode_state() == 11 * 2048
    narrow, wide = (
        plan(replace(MIXTRAL_8X7B, dim=dim), PERFORMANCE, 8, 1, 64).weights()["norms"] for dim in (4096, 4352)
    )
    assert (narrow, wide) == (65 * 11 * 64, 65 * 12 * 2048)
    hidden = [plan(replace(MIXTRAL_8X7B, hidden_dim=size), PERFORMANCE, 8, 1, 64) for size in (67 * 32, 68 * 32)]
    assert hidden[0].weights() == hidden[1].weights()
    assert hidden[0].activations() == hidden[1].activations()


def test_the_peak_of_a_pass() -> None:
    """256 rows of the tiny model on 8 chips: which tensors stand at once, by the width of what is changed."""
    rows, bf16, bfp8 = 256, ttnn.bfloat16, ttnn.bfloat8_b

    def peak(**changes: object) -> int:
        planned = plan(replace(TINY, **changes), PERFORMANCE, 8, 1, 64)
        assert planned.pass_tokens == rows
        return planned.activations()

    read, out = tiled(rows, 256, bfp8), tiled(rows, 256, bf16)
    rest = peak() - read - 2 * out  # of a narrow expert the results are the most: as they come, and weighed
    assert peak(hidden_dim=1024) == rest + read + 2 * tiled(rows, 1024, bfp8)  # gate and up
    assert peak(moe=MoeConfig(16, 2)) == rest + read + 3 * out + tiled(rows, 1, bf16)  # a second expert, its weights
    queries = tiled(rows, 256 // 8 * 32, bf16)
    assert peak(n_heads=256) == rest + 3 * queries + 2 * tiled(rows, 32, bfp8)  # attending
    assert peak(n_heads=64, n_kv_heads=64) == rest + 2 * tiled(rows, 3 * 256, bf16)  # heads taken apart


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
