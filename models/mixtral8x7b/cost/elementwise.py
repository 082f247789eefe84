"""What goes tile by tile: sums and products, casts, moves, norms, and decode operations of a fixed time."""

from models.mixtral8x7b.cost.chip import CORES, CYCLES_PER_US, TILE
from models.mixtral8x7b.cost.operation import Cost

START_US, TILE_US = 0.66, 0.881  # elt.mul.64 (3 tiles a core, 3.3 us) and elt.mul.8 (24 tiles, 21.8 us)
NORM_PASSES, SOFTMAX_PASSES = 3, 5  # assumed: how often each tile goes through
SCATTER_CYCLES = 20  # assumed: for each element along one row, which one core does
TOPK_TILE_US = 22460 / 2374  # op.topk.75968: one core
TOPK_SHARED_TILE_US = 288.7 / (512 / 32 + 32)  # galaxy70b.top-k_16k_wide, 32 cores of 16 tiles, then 32 to join
ARGMAX_TILE_US = 1380 / 2374  # op.argmax
NARROWEST_SHARED_TOPK = 4096  # columns from which ttnn 0.81.1 shares a top-k out, where they are a power of two
NORM_US = 12.5  # wh.op.layernorm: a decode step's rows on the residual's cores
EMBEDDING_US = 3.8  # wh.op.embedding
SAMPLING_US = 67.7  # galaxy70b.sampling
PLUS_ONE_US = 0.85  # galaxy70b.plus_one
ROTATION_US = 4.15  # wh.op.rotary_fused_QK
CACHE_UPDATE_US = 4.5  # wh.op.paged_update_cache
MAKE_HEADS_US = 8.64  # wh.op.create_heads_decode
JOIN_HEADS_US = 5.7  # wh.op.concat_heads_decode


def in_l1(name: str, tiles_per_core: int, passes: int = 1, l1: float = 0.0) -> Cost:
    return Cost(name, START_US, {"cores": TILE_US * tiles_per_core * passes}, l1=l1)


def through_dram(name: str, n_tiles: float, dram_us: float, moved: float, passes: int = 1) -> Cost:
    """dram_us: what reading and writing `moved` bytes takes at the rate of their pages."""
    per_core = -(-int(n_tiles) // CORES)
    return Cost(name, START_US, {"DRAM": dram_us, "cores": TILE_US * per_core * passes}, dram=moved)


def constant(name: str, us: float, dram: float = 0.0, l1: float = 0.0) -> Cost:
    return Cost(name, us, dram=dram, l1=l1)


def scatter(length: int, moved: float) -> Cost:
    """Along one row."""
    return Cost("scatter", START_US, {"cores": length * SCATTER_CYCLES / CYCLES_PER_US}, dram=moved)


def topk(rows: int, columns: int, k: int, dram_us: float, moved: float) -> Cost:
    """A tile of rows after the other on one core each, or one tile of rows on several cores."""
    row_tiles, width = -(-rows // TILE), -(-columns // TILE)
    if row_tiles == 1 and columns >= NARROWEST_SHARED_TOPK and columns & (columns - 1) == 0:
        cores = 16
        us = TOPK_SHARED_TILE_US * (width / cores + cores * k / TILE)
    else:
        us = TOPK_TILE_US * width * -(-row_tiles // CORES)
    return Cost("top-k", START_US, {"cores": us, "DRAM": dram_us}, dram=moved)


def argmax(columns: int) -> Cost:
    return Cost("argmax", START_US, {"cores": ARGMAX_TILE_US * -(-columns // TILE)})
