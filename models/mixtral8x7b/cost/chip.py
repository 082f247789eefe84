"""A Wormhole chip of a T3000, in the units of the cost model: microseconds, bytes, FLOPs.

A rate in GB/s is kilobytes per microsecond, one in TFLOP/s megaFLOPs per microsecond.
"""

CORES = 64  # const.worker_cores: 8 x 8
CYCLES_PER_US = 1000.0  # const.clock
BANKS = 12  # of DRAM; as many cores read a weight that is split over them
TILE = 32
TILE_FLOPS = 2.0 * TILE**3
FIDELITY_CYCLES = {"LoFi": 16, "HiFi2": 32, "HiFi3": 48, "HiFi4": 64}  # of a product of two tiles: GEMM_FLOPS
DRAM_GB_S = 288.0  # const.DRAM_peak
LINK_GB_S = 12.5  # const.Ethernet_per_link_per_direction; one link to each neighbour
TILE_BYTES = {"BFLOAT16": 2048, "BFLOAT8_B": 1088, "BFLOAT4_B": 576, "FLOAT32": 4096, "UINT32": 4096, "INT32": 4096}
TILE_BYTES["UINT16"] = 2048
VALUE_BYTES = {"BFLOAT16": 2, "FLOAT32": 4, "UINT32": 4, "INT32": 4, "UINT16": 2}  # of row-major tensors
# GB/s at which tensors that go round the banks are read: dram.i2s.*, 2048 x 4608 values, 2024-03
PAGE_GB_S = {"BFLOAT16": 254.0, "BFLOAT8_B": 193.0, "BFLOAT4_B": 123.0, "FLOAT32": 273.0}
PAGE_GB_S.update(dict.fromkeys(("UINT32", "INT32"), 273.0), UINT16=254.0)


def peak_tflops(fidelity: str, cores: int = CORES) -> float:
    """const.LoFi_peak_64_cores and its fellows: 262, 131, 87.4, 65.5."""
    return cores * TILE_FLOPS / FIDELITY_CYCLES[fidelity] * CYCLES_PER_US / 1e6


def tiles(width: int) -> int:
    return -(-width // TILE)


def tiled_bytes(rows: int, columns: int, dtype: str) -> int:
    return tiles(rows) * tiles(columns) * TILE_BYTES[dtype]


def over_banks_bytes(rows: int, columns: int, dtype: str) -> int:
    """A weight whose columns are split over the banks, each bank whole tiles."""
    return tiles(rows) * tiles(-(-columns // BANKS)) * BANKS * TILE_BYTES[dtype]
