"""What several stages cost: a step of each, and between two of them the residual's way over both hosts."""

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.cost import prediction
from models.mixtral8x7b.cost.host import COPY_INPUTS_MS, Range, read_ms
from models.mixtral8x7b.cost.recording import recorder
from models.mixtral8x7b.cost.study import ERRORS

ROWS, BF16 = 32, 2
ETHERNET_GB_S = Range(12.5, 1.25, 0.125)  # 100, 10 and 1 Gbit/s between the machines


def hand_over_ms(dim: int) -> Range:
    """Of the residual of 32 rows, bf16 [32, dim]: read from a chip, sent, written to all chips of the next machine.

    Low leaves out the write's fixed part, as a host that has nothing else to do hides it.
    """
    n_bytes = ROWS * dim * BF16

    def all_of(rate: float, written: float) -> float:
        return read_ms(n_bytes) + n_bytes / rate / 1e6 + written

    return Range(
        all_of(ETHERNET_GB_S.low, 0.0),
        all_of(ETHERNET_GB_S.expected, COPY_INPUTS_MS),
        all_of(ETHERNET_GB_S.high, COPY_INPUTS_MS),
    )


def expected_of_stages(
    of_stage: MixtralConfig, precision: str, n_chips: int, stages: int, users: int, context: int
) -> str:
    """For people: `stages` of them, as many groups of `users` in flight, so that none waits. Each is counted with
    embedding and head."""
    with recorder(of_stage, precision, n_chips, context) as programs:
        step = prediction.decode(programs.decode(), programs.load(), users, context).ms
    hand = hand_over_ms(of_stage.dim)
    low, expected, high = (
        stages * (of_step + over)
        for of_step, over in ((step.low, hand.low), (step.expected, hand.expected), (step.high, hand.high))
    )
    return (
        f"modelled, not measured: {1e3 / expected:.1f} tokens/s/user ({1e3 / high:.1f} to {1e3 / low:.1f}) for "
        f"{stages} groups of {users} users at context {context}: a stage takes {step.expected:.1f} ms, a hand-over "
        f"{hand.expected:.2f} ms ({hand.low:.2f} to {hand.high:.2f}; 10 Gbit/s, 100 to 1)\n{ERRORS}"
    )
