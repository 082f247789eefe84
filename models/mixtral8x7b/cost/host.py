"""Between the operations and beside them: gaps on the chips, the host's part of a step, its launches in a prefill."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Range:
    """What the published rows leave open; `expected` is what the model says."""

    low: float
    expected: float
    high: float


# us between two operations that are replayed from a trace: galaxy.op2op.lo and .hi (2025), gap.t3k.2024
GAP_US = Range(0.6, 0.87, 4.0)
# ms of a step whose tokens are chosen on the chips: host.qwen3-8b.*.after; host.t3k.residual; with the three savings of
# host.t3k.* not made
DEVICE_LOOP_MS = Range(0.35, 0.5, 0.5 + 0.62 + 0.55 + 0.4)
# us of host time for each operation that is not replayed: see matmul.PREFILL_TFLOP_S. Low: none, hidden by a trace
LAUNCH_US = Range(0.0, 61.7, 2 * 61.7)
COPY_INPUTS_MS = 0.818  # host.qwen3-8b.copy_inputs_to_chip.before
_INPUTS_MS, _LOGITS_MS, _VOCABULARY = 0.611 + COPY_INPUTS_MS, 2.593 + 1.786, 151936  # host.qwen3-8b.*.before
_READ_MS, _READ_TILE_OF_LOGITS_MS = 0.21, 2.593  # host.qwen3-8b.read_back_scores_or_token.after and .before


def host_sampling_ms(vocabulary: int) -> float:
    """Of a step whose logits the host reads and chooses from; it writes the next step's inputs."""
    return _INPUTS_MS + _LOGITS_MS * vocabulary / _VOCABULARY


def read_ms(n_bytes: int) -> float:
    """What the host takes to read so much from one chip: between the token and the tile of bf16 logits of the rows."""
    share = n_bytes / (32 * 2 * _VOCABULARY)
    return _READ_MS + (_READ_TILE_OF_LOGITS_MS - _READ_MS) * share
