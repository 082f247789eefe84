"""What a chip's memory may hold before anything is written to it."""

import torch
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh

# 32-bit words: as bf16 pairs nan, infinity and 3e38 of both signs, as bfp8 bytes of sign without magnitude (0x80, which
# the matrix unit reads as -2^128) under exponents of 255
PATTERNS = {
    "nan": 0x7FFF7FFF,
    "infinity": 0xFF807F80 - (1 << 32),
    "huge": 0xFF617F61 - (1 << 32),
    "minus_zero_of_bfp8": 0x80808080 - (1 << 32),
    "all_ones": -1,
}
DRAM_BYTES = 96 << 20  # of a chip: more than the small models take
L1_BYTES_PER_CORE = 5 << 18  # of 1.4 MB that tensors and buffers may have
CORES = 64
_WORDS = 1024  # in a row, which is a page


def poison(mesh: Mesh, pattern: int) -> None:
    """Fills DRAM and L1 of every chip with the pattern, and frees them."""
    held = [
        _filled(mesh, DRAM_BYTES, pattern, ttnn.DRAM_MEMORY_CONFIG),
        _filled(mesh, L1_BYTES_PER_CORE * CORES, pattern, ttnn.L1_MEMORY_CONFIG),
    ]
    for tensor in held:
        ttnn.deallocate(tensor)


def _filled(mesh: Mesh, n_bytes: int, pattern: int, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
    words = torch.full((1, 1, n_bytes // (4 * _WORDS), _WORDS), pattern, dtype=torch.int32)
    return mesh.put(words, ttnn.int32, memory_config=memory_config)
