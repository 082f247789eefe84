"""The file format `.tensorbin` of ttnn 0.81.1, written and read without ttnn, and the packer of what is in it.

    header = Header((4096, 14336), DType.BFLOAT8_B, Layout.TILE, mesh_shape=(1, 8), placements=(0,))
    write(path, header, (pack(weight, header.dtype, header.layout) for weight in weights))

    header = read_header(path)
    values = unpack(read_parts(path, header)[3], header.shape, header.dtype, header.layout)

Files have the same bytes as those of `ttnn.dump_tensor`, and either side reads the other's. Tensors are interleaved in
DRAM; ttnn's files of other memory configs are refused.
"""

from tensorbin.files import read_header, read_parts, write
from tensorbin.formats import DType, Layout, TensorbinError, part_bytes
from tensorbin.header import Header, decode, encode
from tensorbin.packing import pack
from tensorbin.unpacking import unpack

TTNN_VERSION = "0.81.1"  # whose format this is

__all__ = [
    "TTNN_VERSION",
    "DType",
    "Header",
    "Layout",
    "TensorbinError",
    "decode",
    "encode",
    "pack",
    "part_bytes",
    "read_header",
    "read_parts",
    "unpack",
    "write",
]
