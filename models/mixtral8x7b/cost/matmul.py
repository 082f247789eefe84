"""Matmuls: of a decode step, where the weight is read once for a tile of rows, and of a prefill, where math counts.

Sizes are [rows, inner] times [inner, columns], of one chip.
"""

from models.mixtral8x7b.cost.chip import (
    BANKS,
    CORES,
    CYCLES_PER_US,
    FIDELITY_CYCLES,
    PAGE_GB_S,
    TILE_FLOPS,
    over_banks_bytes,
    tiled_bytes,
    tiles,
)
from models.mixtral8x7b.cost.operation import Cost

FIXED_US = 4.95  # mm.dramsharded.fixed: over six shapes
BANKS_GB_S = 257.3  # mm.dramsharded.bw
BLOCK_US = 1.42  # mm.ff1.64core: (95.8 - 4.95) us for 64 blocks, each of which goes round to the cores that multiply
# R_lin, TFLOP/s: what matmuls reach inside a model's prefill, at whichever fidelity. Solved together with
# sdpa.PREFILL_TFLOP_S and host.LAUNCH_US on three rows (docs/cost_model.md)
PREFILL_TFLOP_S = 64.5


def over_banks(
    rows: int, inner: int, columns: int, dtype: str, fidelity: str, block_tiles: int, activations: float = 0.0
) -> Cost:
    """A weight split over the DRAM banks, 12 cores multiply; block_tiles of the activations' columns at a time."""
    stored = over_banks_bytes(inner, columns, dtype)
    per_bank = tiles(-(-columns // BANKS)) * tiles(inner) * tiles(rows)
    return Cost(
        "matmul",
        FIXED_US,
        {
            "DRAM": stored / 1e3 / BANKS_GB_S,
            "math": per_bank * FIDELITY_CYCLES[fidelity] / CYCLES_PER_US,
            "cores": BLOCK_US * tiles(inner) / block_tiles,
        },
        flops=tiles(rows) * tiles(inner) * tiles(columns) * TILE_FLOPS,
        fidelity=fidelity,
        dram=stored,
        l1=activations,
    )


def narrow(rows: int, inner: int, columns: int, dtype: str, fidelity: str, block_tiles: int) -> Cost:
    """A weight in pages round the banks with few columns, a tile of them on each core that has any (the router)."""
    stored, cores = tiled_bytes(inner, columns, dtype), min(CORES, tiles(columns))
    products = tiles(rows) * tiles(inner) * -(-tiles(columns) // cores)
    return Cost(
        "matmul",
        FIXED_US,
        {
            "DRAM": stored / 1e3 / PAGE_GB_S[dtype],
            "math": products * FIDELITY_CYCLES[fidelity] / CYCLES_PER_US,
            "cores": BLOCK_US * tiles(inner) / block_tiles,
        },
        flops=tiles(rows) * tiles(inner) * tiles(columns) * TILE_FLOPS,
        fidelity=fidelity,
        dram=stored,
    )


def prefill(rows: int, inner: int, columns: int, dtype: str, fidelity: str, moved: float, stored: float = 0.0) -> Cost:
    """Many rows; `moved` is the bytes of activations in and out, `stored` the weight's (0: in pages)."""
    weight = stored or tiled_bytes(inner, columns, dtype)
    flops = tiles(rows) * tiles(inner) * tiles(columns) * TILE_FLOPS
    return Cost(
        "matmul",
        FIXED_US,
        {"math": flops / 1e6 / PREFILL_TFLOP_S, "DRAM": (weight + moved) / 1e3 / PAGE_GB_S[dtype]},
        flops=flops,
        fidelity=fidelity,
        dram=weight + moved,
    )


def blocks(
    in_use: float, rows: int, inner: int, columns: int, dtype: str, fidelity: str, moved: float, stored: float
) -> Cost:
    """in_use blocks of `rows` rows one after the other, the weight read for each; `moved` is one block's in and out."""
    flops = tiles(rows) * tiles(inner) * tiles(columns) * TILE_FLOPS
    return Cost(
        "matmul of blocks",
        FIXED_US,
        {
            "math": in_use * flops / 1e6 / PREFILL_TFLOP_S,
            "DRAM": in_use * (stored + moved) / 1e3 / PAGE_GB_S[dtype],
        },
        flops=in_use * flops,
        fidelity=fidelity,
        dram=in_use * (stored + moved),
    )
