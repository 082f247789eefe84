"""The constants of the laws are the rows that they say; what is solved is solved; the split is what was committed.

.venv/bin/python -m pytest tests/cost/test_published.py
"""

import pytest

from models.mixtral8x7b.cost import chip, elementwise, host, matmul, sdpa
from models.mixtral8x7b.cost.collectives import TABLES
from models.mixtral8x7b.cost.study import FIRST_TOKENS_RMS, STEPS_RMS
from tests.cost.checks import not_computed, residual
from tests.cost.fit import solved_launch, solved_rates
from tests.cost.published import rows
from tests.cost.residuals import GROUPS, group, summary

FIT = {row.id: row.value for row in rows("fit")}
CHECKS = rows("check")


def test_constants_are_their_rows() -> None:
    assert {
        "mm.dramsharded.fixed": matmul.FIXED_US,
        "mm.dramsharded.bw": matmul.BANKS_GB_S,
        "sdpa.decode.bw": sdpa.CORE_GB_S * chip.CORES,
        "wh.op.layernorm": elementwise.NORM_US,
        "wh.op.embedding": elementwise.EMBEDDING_US,
        "wh.op.rotary_fused_QK": elementwise.ROTATION_US,
        "wh.op.paged_update_cache": elementwise.CACHE_UPDATE_US,
        "wh.op.create_heads_decode": elementwise.MAKE_HEADS_US,
        "wh.op.concat_heads_decode": elementwise.JOIN_HEADS_US,
        "galaxy70b.sampling": elementwise.SAMPLING_US,
        "galaxy70b.plus_one": elementwise.PLUS_ONE_US,
        "galaxy.op2op.lo": host.GAP_US.low,
        "galaxy.op2op.hi": host.GAP_US.expected,
        "gap.t3k.2024": host.GAP_US.high,
        "const.DRAM_peak": chip.DRAM_GB_S,
        "const.Ethernet_per_link_per_direction": chip.LINK_GB_S,
        "host.t3k.residual": host.DEVICE_LOOP_MS.expected,
    }.items() <= FIT.items()
    for (kind, fabric), table in TABLES.items():
        assert {f"ccl.{kind}.{fabric}8.{size * 1024}": us for size, us in table.items()}.items() <= FIT.items()
    for cores, heads_cores in ((4, 1), (16, 4), (32, 8), (64, 16)):
        assert FIT[f"sdpa.decode.fixed.c{cores}"] / 36 == sdpa.FIXED_US[heads_cores]
    for name, dtype, size in (("bf16", "BFLOAT16", 2), ("bfp8", "BFLOAT8_B", 1.0625), ("bfp4", "BFLOAT4_B", 0.5625)):
        assert chip.PAGE_GB_S[dtype] == pytest.approx(2048 * 4608 * size / 1e3 / FIT[f"dram.i2s.{name}"], rel=0.01)
    savings = [FIT[f"host.t3k.{name}"] for name in ("keep_loop_on_device", "remove_a_sync", "pipelined_readback")]
    assert host.DEVICE_LOOP_MS.high == pytest.approx(host.DEVICE_LOOP_MS.expected + sum(savings))
    before = sum(value for name, value in FIT.items() if name.startswith("host.qwen3") and name.endswith(".before"))
    assert host.host_sampling_ms(151936) == pytest.approx(before)


def test_what_is_solved_on_three_rows() -> None:
    assert solved_rates() == pytest.approx((matmul.PREFILL_TFLOP_S, sdpa.PREFILL_TFLOP_S), rel=2e-3)
    assert solved_launch() == pytest.approx(host.LAUNCH_US.expected, rel=1e-3)


def test_the_split() -> None:
    assert len({row.id for row in (*rows("fit"), *CHECKS)}) == len(FIT) + len(CHECKS)
    assert (len(FIT), len(CHECKS)) == (108, 252)
    assert sum(row.looked_at == "no" for row in CHECKS) == 92
    assert all(row.source and row.date for row in CHECKS)
    assert sum(bool(not_computed(row)) for row in CHECKS) == 7


def test_the_errors_that_are_told_are_those_of_the_rows() -> None:
    for name, told in ((GROUPS[1], STEPS_RMS), (GROUPS[2], FIRST_TOKENS_RMS)):
        found = [residual(row) for row in CHECKS if group(row) == name and not not_computed(row)]
        assert round(summary(found)[2], 2) == told


def test_a_residual_is_of_times() -> None:
    slow_rate = next(row for row in CHECKS if row.id == "readme.Qwen2.5-7B.N300.tsu")
    assert residual(slow_rate) < 0  # 22 tokens/s/user were published and more are modelled: the model is faster
    assert summary([0.5, -1.0]) == (2, -0.25, pytest.approx(0.7906, abs=1e-4), -1.0)
