"""ttnn's enumerations, with the members' names and numbers of the real library."""

from __future__ import annotations

from enum import Enum


class DataType(Enum):
    BFLOAT16 = 0
    FLOAT32 = 1
    UINT32 = 2
    BFLOAT8_B = 3
    BFLOAT4_B = 4
    UINT8 = 5
    UINT16 = 6
    INT32 = 7


class Layout(Enum):
    ROW_MAJOR = 0
    TILE = 1


class TensorMemoryLayout(Enum):
    INTERLEAVED = 0
    HEIGHT_SHARDED = 2
    WIDTH_SHARDED = 3
    BLOCK_SHARDED = 4


class BufferType(Enum):
    DRAM = 0
    L1 = 1


class ShardOrientation(Enum):
    ROW_MAJOR = 0
    COL_MAJOR = 1


class ShardStrategy(Enum):
    HEIGHT = 1
    WIDTH = 2
    BLOCK = 3


class StorageType(Enum):
    HOST = 0
    DEVICE = 1


class MathFidelity(Enum):
    LoFi = 0
    HiFi2 = 2
    HiFi3 = 3
    HiFi4 = 4
    Invalid = 255


class Topology(Enum):
    Linear = 1
    Ring = 2


class FabricConfig(Enum):
    DISABLED = 0
    FABRIC_1D = 2
    FABRIC_1D_RING = 3


class DispatchCoreType(Enum):
    WORKER = 0
    ETH = 1


class UnaryOpType(Enum):
    """Only the activations that this backend computes."""

    RELU = 4
    SIGMOID = 6
    SILU = 58


bfloat16 = DataType.BFLOAT16
float32 = DataType.FLOAT32
bfloat8_b = DataType.BFLOAT8_B
bfloat4_b = DataType.BFLOAT4_B
uint8 = DataType.UINT8
uint16 = DataType.UINT16
uint32 = DataType.UINT32
int32 = DataType.INT32

ROW_MAJOR_LAYOUT = Layout.ROW_MAJOR
TILE_LAYOUT = Layout.TILE

TILE_SIZE = 32

BLOCK_FLOATS = frozenset({DataType.BFLOAT8_B, DataType.BFLOAT4_B})
FLOATS = BLOCK_FLOATS | {DataType.BFLOAT16, DataType.FLOAT32}
INTEGERS = frozenset({DataType.UINT8, DataType.UINT16, DataType.UINT32, DataType.INT32})
UNSIGNED_BITS = {DataType.UINT8: 8, DataType.UINT16: 16, DataType.UINT32: 32}
