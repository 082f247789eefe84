"""Attention. In decode it reads the cache, on few cores where users and KV heads are few; in prefill it multiplies."""

from collections.abc import Sequence
from math import log2

from models.mixtral8x7b.cost.chip import CORES, TILE, TILE_BYTES, tiles
from models.mixtral8x7b.cost.operation import Cost

MOST_CORES = 16  # for a user's KV head: max_cores_per_head_batch of the program
CHUNK = 256  # keys that a core takes at a time
CORE_GB_S = 209.3 / CORES  # sdpa.decode.bw: all cores at work
# us that a step takes whatever the context, by the cores of a user's KV head, whose partial results are joined in a
# tree: sdpa.decode.fixed.c4, c16, c32, c64 with 4 KV heads, by 36 layers
FIXED_US = {1: 447 / 36, 4: 811 / 36, 8: 1265 / 36, 16: 1464 / 36}
PREFILL_TFLOP_S = 23.6  # R_att: see matmul.PREFILL_TFLOP_S
PREFILL_FIXED_US = 4.95


def decode(
    users: int, kv_heads: int, head_dim: int, context: int, dtype: str, fidelity: str = "HiFi2", l1: float = 0.0
) -> Cost:
    """One position of each of `users`, who have `context` positions; all query heads of a KV head share a tile."""
    chunks = max(1, -(-context // CHUNK))
    units = users * kv_heads
    per_unit = max(1, min(MOST_CORES, CORES // units, chunks))
    cores = min(CORES, units * per_unit)
    positions = chunks * CHUNK
    kv_bytes = units * 2.0 * positions / TILE * tiles(head_dim) * TILE_BYTES[dtype]
    return Cost(
        "attention",
        _fixed_us(per_unit),
        {"DRAM": kv_bytes / 1e3 / (CORE_GB_S * cores)},
        flops=units * 4.0 * TILE * positions * head_dim,
        fidelity=fidelity,
        dram=kv_bytes,
        l1=l1,
    )


def prefill(
    heads: int, head_dim: int, pieces: Sequence[tuple[int, int]], moved: float, fidelity: str = "HiFi3"
) -> Cost:
    """Causal; of each piece its rows and how many positions stand before them. `moved`: bytes in and out."""
    pairs = sum(rows * ((rows + CHUNK) / 2 + before) for rows, before in pieces)
    flops = 4.0 * heads * head_dim * pairs
    return Cost(
        "attention",
        PREFILL_FIXED_US,
        {"math": flops / 1e6 / PREFILL_TFLOP_S},
        flops=flops,
        fidelity=fidelity,
        dram=moved,
    )


def _fixed_us(cores: int) -> float:
    """Straight lines over the logarithm of the cores."""
    if cores in FIXED_US:
        return FIXED_US[cores]
    below = max(known for known in FIXED_US if known < cores)
    above = min(known for known in FIXED_US if known > cores)
    share = log2(cores / below) / log2(above / below)
    return FIXED_US[below] + share * (FIXED_US[above] - FIXED_US[below])
