"""Where tensors stand in a chip: which cores or DRAM banks hold which part, and the matmul programs that follow.

Everything is computed from widths, so that a small model takes the same path as Mixtral 8x7B. The numbers in brackets
are those of Mixtral 8x7B on 8 chips.
"""

from itertools import count

import ttnn

TILE = 32  # rows and columns of a tile
DECODE_ROWS = 32  # the decode program always has one tile of rows, one row per user
GRID = (8, 8)  # worker cores (columns, rows); asked for by dispatching on ethernet cores
ALL_CORES = GRID[0] * GRID[1]
RESIDUAL_CORES = 32  # half the grid at most: the other half stays free for the collectives' workers
DECODE_KEYS_AT_ONCE = 256  # keys that one core takes at a time; a larger chunk means fewer partial softmaxes to join
TILE_BYTES = {ttnn.bfloat16: 2048, ttnn.bfloat8_b: 1088, ttnn.bfloat4_b: 576, ttnn.uint32: 4096, ttnn.int32: 4096}
# Of a core's L1 for a matmul of decode, three blocks of weights in flight and the sums: with 1.23 MB, w1 in bfp8 by 8
# tiles, no room is left for tensors [352 bytes too few, on a mocked chip].
MOST_DECODE_BYTES = 1_100_000
SUM_BYTES = 4096 + 2048  # of a tile of results: float32 while it grows, then bf16
MOST_BLOCK_TILES = 8  # of rows of a weight at a time; each block of the activations goes round to all cores once
WIDEST_HEAD_PIECE = 36864  # columns of the LM head that one matmul makes: 96 tiles from each bank, 0.6 MB of L1 as sums
MOST_STRIP_TILES = 8  # of columns that a core makes at a time of a block of rows
REGISTER_TILES = 4  # of float32 sums that a core holds at a time
NARROWEST_TOPK = 64  # narrowest top-k that needs no padding inside the operation
FEWEST_SHARING = 16  # cores that take equal shares of a matmul's columns, or of all tiles where there are fewer
NEVER = -1e30  # logit of a column that stands for nothing: no top-k takes it, and nothing is undefined about it


def tiles(width: int) -> int:
    """Tiles that hold this many columns (or rows), the last one perhaps in part."""
    return -(-width // TILE)


def cores_for(n_tiles: int, most: int) -> int:
    """The most cores that share n_tiles evenly: [768 columns: 24, 14336: 64, 4000: 25]."""
    return max(cores for cores in range(1, most + 1) if n_tiles % cores == 0)


def even_columns(columns: int) -> int:
    """Columns with padding up to whole tiles of which many cores take equal shares.

    [4000: as they are, 125 tiles on 25 cores; 57000 over 8 chips, 7125: 7168, 224 tiles on 56 cores, as 223 is prime]
    """
    enough = (n for n in count(tiles(columns)) if cores_for(n, ALL_CORES) >= min(n, FEWEST_SHARING))
    return next(enough) * TILE


def vocabulary_columns(vocab_size: int, n_devices: int) -> int:
    """Columns of each chip's share of the vocabulary; those beyond vocab_size are padding."""
    n_pieces, columns = vocabulary_pieces(vocab_size, n_devices)
    return n_pieces * columns


def vocabulary_pieces(vocab_size: int, n_devices: int) -> tuple[int, int]:
    """Matmuls that make a chip's share of the logits, and the columns of each [1 and 4000]."""
    share = -(-vocab_size // n_devices)
    n_pieces = -(-share // WIDEST_HEAD_PIECE)
    return n_pieces, even_columns(-(-share // n_pieces))


def head_cores(columns: int, head_dim: int) -> int:
    """The most cores that share columns of whole heads evenly, none of them a piece that crosses heads.

    The operation that takes heads out of a matmul's result wants that [768 columns: 24, 6144 of one chip: 48].
    """
    shares = (columns // cores for cores in range(ALL_CORES, 0, -1) if tiles(columns) % cores == 0)
    return columns // next(share for share in shares if head_dim % share == 0)


def full_rectangle(n_tiles: int) -> tuple[int, int]:
    """Columns and rows of the largest rectangle of cores that shares n_tiles evenly [448 tiles: 8, 8; 6: 6, 1]."""
    shapes = [(columns, rows) for rows in range(1, GRID[1] + 1) for columns in range(1, GRID[0] + 1)]
    return max((s for s in shapes if n_tiles % (s[0] * s[1]) == 0), key=lambda s: (s[0] * s[1], s[0]))


def block_matmul(rows: int, inner: int, columns: int) -> ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig:
    """Blocks [rows, inner] one after the other times a weight [inner, columns]: each core takes a strip of columns."""
    grid = full_rectangle(tiles(columns))
    strip = tiles(columns) // (grid[0] * grid[1])
    part = max(w for w in range(1, MOST_STRIP_TILES + 1) if strip % w == 0)  # that stands in L1 at a time
    width = max(w for w in range(1, REGISTER_TILES + 1) if part % w == 0)
    at_once = max(w for w in range(1, 9) if tiles(inner) % w == 0)
    return ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(
        compute_with_storage_grid_size=grid,
        in0_block_w=at_once,
        out_subblock_h=1,
        out_subblock_w=width,
        out_block_h=tiles(rows),
        out_block_w=part,
        per_core_M=tiles(rows),
        per_core_N=strip,
        fuse_batch=False,
        fused_activation=None,
        mcast_in0=True,
    )


def residual_cores(dim: int) -> int:
    """Cores of the decode residual, a full rectangle of the grid because the sharded norm needs one [32]."""
    return max(c for c in range(1, RESIDUAL_CORES + 1) if tiles(dim) % c == 0 and (c <= GRID[0] or c % GRID[0] == 0))


def residual_grid(dim: int) -> tuple[int, int]:
    """Columns and rows of the residual's rectangle of cores: whole rows of the grid, or part of the first [8, 4]."""
    columns = min(residual_cores(dim), GRID[0])
    return columns, residual_cores(dim) // columns


def residual(dim: int) -> ttnn.MemoryConfig:
    """The decode residual [32, dim]: L1, split by columns over a rectangle of cores [32 cores x [32, 128]]."""
    columns, rows = residual_grid(dim)
    cores = ttnn.CoreRangeSet({ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(columns - 1, rows - 1))})
    shard = ttnn.ShardSpec(cores, [DECODE_ROWS, dim // residual_cores(dim)], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, ttnn.BufferType.L1, shard)


def one_row_per_core(width: int, cores: int) -> ttnn.MemoryConfig:
    """[1, cores, 32, width]: one user's heads, a tile of rows, on each core."""
    grid = ttnn.num_cores_to_corerangeset(cores, ttnn.CoreCoord(*GRID), True)
    shard = ttnn.ShardSpec(grid, [TILE, width], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.HEIGHT_SHARDED, ttnn.BufferType.L1, shard)


def over_dram_banks(rows: int, columns: int, banks: int) -> ttnn.MemoryConfig:
    """A weight [rows, columns], its columns split over all DRAM banks so that a matmul reads from every bank at once.

    The columns are padded to whole tiles per bank [14336 columns over 12 banks: 1216 each, 1.8 % padding].
    """
    width = tiles(-(-columns // banks)) * TILE
    grid = ttnn.CoreRangeSet({ttnn.CoreRange(ttnn.CoreCoord(0, 0), ttnn.CoreCoord(banks - 1, 0))})
    shard = ttnn.ShardSpec(grid, [rows, width], ttnn.ShardOrientation.ROW_MAJOR)
    return ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, ttnn.BufferType.DRAM, shard)


def decode_matmul(
    rows: int, columns: int, in_cores: int, out_cores: int, banks: int, dtype: ttnn.DataType
) -> ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig:
    """x [32, rows] on in_cores times a weight of this dtype over the DRAM banks -> [32, columns] on out_cores.

    As many rows are taken at a time as L1 has room for: a part of what a core of x holds, or what several hold [w1: 4
    tiles of rows by 38 of columns in bfp8, in bfp4 8, of two cores; w2: 7; the LM head of one chip, 84 of columns: 2].
    """
    of_core, of_bank = tiles(rows) // in_cores, tiles(-(-columns // banks))
    most = min(MOST_BLOCK_TILES, (MOST_DECODE_BYTES // of_bank - SUM_BYTES) // (3 * TILE_BYTES[dtype]))
    blocks = [
        size for size in range(1, most + 1) if of_core % size == 0 or (size % of_core == 0 and tiles(rows) % size == 0)
    ]
    return ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig(
        in0_block_w=max(blocks, default=1),
        per_core_M=1,
        per_core_N=tiles(columns) // out_cores,
        fused_activation=None,
    )
