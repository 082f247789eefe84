"""The three numbers that are solved on whole models, and those that are one row or the difference of two.

.venv/bin/python -m tests.cost.fit      # prints what the constants in models/mixtral8x7b/cost/ must be
"""

from collections.abc import Iterator
from contextlib import contextmanager

from models.mixtral8x7b.cost import matmul, sdpa
from models.mixtral8x7b.cost.host import GAP_US, host_sampling_ms
from models.mixtral8x7b.cost.operation import Step
from models.mixtral8x7b.cost.tt_transformers import prefill_passes
from tests.cost.published import Row, rows

LONG = "perf.Llama-3.1-8B.N150.performance.b1.65536.ttft"  # attention counts most
WIDE = "srv.Qwen2.5-72B.2048.ttft"  # matmuls count most
SHORT = "perf.Llama-3.1-8B.T3000.performance.b1.128.ttft"  # launches count most


def passes_of(row: Row) -> list[Step]:
    return prefill_passes(row.model, row.machine, row.length)


def device_ms(row: Row) -> float:
    return sum(step.us + GAP_US.expected * step.operations for step in passes_of(row)) / 1e3


@contextmanager
def _rates(linear: float, attention: float) -> Iterator[None]:
    usual = matmul.PREFILL_TFLOP_S, sdpa.PREFILL_TFLOP_S
    matmul.PREFILL_TFLOP_S, sdpa.PREFILL_TFLOP_S = linear, attention
    try:
        yield
    finally:
        matmul.PREFILL_TFLOP_S, sdpa.PREFILL_TFLOP_S = usual


def _solved(row: Row, fixed: float, which: str) -> float:
    """The rate with which the row comes out as published, by halving."""
    wanted = row.value - host_sampling_ms(row.model.vocabulary)
    low, high = 1.0, 1000.0
    for _ in range(40):
        middle = (low * high) ** 0.5
        with _rates(middle, fixed) if which == "linear" else _rates(fixed, middle):
            low, high = (middle, high) if device_ms(row) > wanted else (low, middle)
    return low


def solved_rates() -> tuple[float, float]:
    """R_lin and R_att, TFLOP/s."""
    by_id = {row.id: row for row in rows("fit")}
    linear, attention = 48.0, 25.0
    for _ in range(6):
        linear = _solved(by_id[WIDE], attention, "linear")
        attention = _solved(by_id[LONG], linear, "attention")
    return linear, attention


def solved_launch() -> float:
    """us for each operation."""
    (row,) = (row for row in rows("fit") if row.id == SHORT)
    operations = sum(step.operations for step in passes_of(row))
    return (row.value - host_sampling_ms(row.model.vocabulary)) * 1e3 / operations


if __name__ == "__main__":
    print("R_lin, R_att:", solved_rates(), "launch:", solved_launch())
