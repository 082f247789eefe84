"""The subset of the ttnn API that Mixtral uses, computed with torch on the CPU.

Names, signatures, checks and output specs are ttnn's (0.81.1, Wormhole), so that a program which says `import ttnn`
runs here after `ttnn_cpu.install()`. `import ttnn_cpu as ttnn` works too, also beside the real library.

Every operation is computed in float32 and its result is rounded once to its dtype, as a chip rounds what it writes
(`chip_rounding`); host tensors are rounded as ttnn does it on the host (`rounding`). On silicon, math fidelity, the
accumulator's format and approximate functions round more: accuracy measured so is an upper bound. Program configs,
compute kernel configs and approximate modes are checked and otherwise ignored. Inside `chip_values` they count: results
are then what a chip's kernels compute, to the bit (docs/chip_values.md).

What is not implemented raises: an unknown keyword TypeError, an unknown value NotImplementedError, a call that ttnn
refuses RuntimeError; each names the operation and the argument.

Beyond ttnn's API: `install`, `exact_values` (rounding off), `chip_values` (as the chips compute), `specs_only` (meshes
without values), `record`.
"""

from __future__ import annotations

from ttnn_cpu import experimental, transformer
from ttnn_cpu.configs import (
    LayerNormDefaultProgramConfig,
    LayerNormShardedMultiCoreProgramConfig,
    MatmulMultiCoreReuseMultiCast1DProgramConfig,
    MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig,
    MatmulMultiCoreReuseMultiCastProgramConfig,
    MinimalMatmulConfig,
    SDPAProgramConfig,
    UnaryWithParam,
    WormholeComputeKernelConfig,
)
from ttnn_cpu.cores import CoreCoord, CoreGrid, CoreRange, CoreRangeSet, num_cores_to_corerangeset
from ttnn_cpu.creation import empty, full, ones, zeros, zeros_like
from ttnn_cpu.device import (
    DispatchCoreConfig,
    MeshDevice,
    MeshShape,
    close_mesh_device,
    get_num_devices,
    open_mesh_device,
    set_fabric_config,
    specs_only,
    synchronize_device,
)
from ttnn_cpu.enums import (
    ROW_MAJOR_LAYOUT,
    TILE_LAYOUT,
    TILE_SIZE,
    BufferType,
    DataType,
    DispatchCoreType,
    FabricConfig,
    Layout,
    MathFidelity,
    ShardOrientation,
    ShardStrategy,
    StorageType,
    TensorMemoryLayout,
    Topology,
    UnaryOpType,
    bfloat4_b,
    bfloat8_b,
    bfloat16,
    float32,
    int32,
    uint8,
    uint16,
    uint32,
)
from ttnn_cpu.events import MeshEvent, event_synchronize, record_event
from ttnn_cpu.host_io import (
    copy_host_to_device_tensor,
    from_device,
    from_host_shards,
    from_torch,
    get_device_tensors,
    to_device,
    to_torch,
)
from ttnn_cpu.installing import install
from ttnn_cpu.memory import (
    DRAM_MEMORY_CONFIG,
    L1_BLOCK_SHARDED_MEMORY_CONFIG,
    L1_HEIGHT_SHARDED_MEMORY_CONFIG,
    L1_MEMORY_CONFIG,
    L1_WIDTH_SHARDED_MEMORY_CONFIG,
    MemoryConfig,
    ShardSpec,
    create_sharded_memory_config,
)
from ttnn_cpu.mesh_mapping import (
    ConcatMeshToTensor,
    MeshMapperConfig,
    MeshToTensor,
    PlacementReplicate,
    PlacementShard,
    ReplicateTensorToMesh,
    ShardTensor2dMesh,
    ShardTensorToMesh,
    TensorToMesh,
    concat_mesh_to_tensor_composer,
    create_mesh_mapper,
    replicate_tensor_to_mesh_mapper,
    shard_tensor_to_mesh_mapper,
)
from ttnn_cpu.modes import chip_values, exact_values
from ttnn_cpu.ops.binary import add, add_, multiply, multiply_, subtract
from ttnn_cpu.ops.collectives import all_gather, all_reduce, mesh_partition, reduce_scatter
from ttnn_cpu.ops.comparison import eq, ge, lt, ne
from ttnn_cpu.ops.embedding import embedding
from ttnn_cpu.ops.matmul import linear, matmul
from ttnn_cpu.ops.norm import rms_norm, scale_mask_softmax, softmax
from ttnn_cpu.ops.placement import (
    interleaved_to_sharded,
    sharded_to_interleaved,
    tilize,
    to_layout,
    to_memory_config,
    untilize,
)
from ttnn_cpu.ops.reduce import argmax, sum, topk
from ttnn_cpu.ops.reshape import permute, reshape, transpose, unsqueeze_to_4D
from ttnn_cpu.ops.sampling import manual_seed, sampling
from ttnn_cpu.ops.scatter import scatter
from ttnn_cpu.ops.slicing import concat, pad, slice
from ttnn_cpu.ops.sparse_matmul import sparse_matmul
from ttnn_cpu.ops.unary import clone, copy, plus_one, silu, typecast, where
from ttnn_cpu.recorder import Call, Calls, record
from ttnn_cpu.spec import Shape
from ttnn_cpu.tensor import Tensor, deallocate
from ttnn_cpu.tensor_files import as_tensor, dump_tensor, load_tensor
from ttnn_cpu.trace import MeshTraceId, begin_trace_capture, end_trace_capture, execute_trace, release_trace

__all__ = [
    "DRAM_MEMORY_CONFIG",
    "L1_BLOCK_SHARDED_MEMORY_CONFIG",
    "L1_HEIGHT_SHARDED_MEMORY_CONFIG",
    "L1_MEMORY_CONFIG",
    "L1_WIDTH_SHARDED_MEMORY_CONFIG",
    "ROW_MAJOR_LAYOUT",
    "TILE_LAYOUT",
    "TILE_SIZE",
    "BufferType",
    "Call",
    "Calls",
    "ConcatMeshToTensor",
    "CoreCoord",
    "CoreGrid",
    "CoreRange",
    "CoreRangeSet",
    "DataType",
    "DispatchCoreConfig",
    "DispatchCoreType",
    "FabricConfig",
    "LayerNormDefaultProgramConfig",
    "LayerNormShardedMultiCoreProgramConfig",
    "Layout",
    "MathFidelity",
    "MatmulMultiCoreReuseMultiCast1DProgramConfig",
    "MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig",
    "MatmulMultiCoreReuseMultiCastProgramConfig",
    "MemoryConfig",
    "MeshDevice",
    "MeshEvent",
    "MeshMapperConfig",
    "MeshShape",
    "MeshToTensor",
    "MeshTraceId",
    "MinimalMatmulConfig",
    "PlacementReplicate",
    "PlacementShard",
    "ReplicateTensorToMesh",
    "SDPAProgramConfig",
    "Shape",
    "ShardOrientation",
    "ShardSpec",
    "ShardStrategy",
    "ShardTensor2dMesh",
    "ShardTensorToMesh",
    "StorageType",
    "Tensor",
    "TensorMemoryLayout",
    "TensorToMesh",
    "Topology",
    "UnaryOpType",
    "UnaryWithParam",
    "WormholeComputeKernelConfig",
    "add",
    "add_",
    "all_gather",
    "all_reduce",
    "argmax",
    "as_tensor",
    "begin_trace_capture",
    "bfloat4_b",
    "bfloat8_b",
    "bfloat16",
    "chip_values",
    "clone",
    "close_mesh_device",
    "concat",
    "concat_mesh_to_tensor_composer",
    "copy",
    "copy_host_to_device_tensor",
    "create_mesh_mapper",
    "create_sharded_memory_config",
    "deallocate",
    "dump_tensor",
    "embedding",
    "empty",
    "end_trace_capture",
    "eq",
    "event_synchronize",
    "exact_values",
    "execute_trace",
    "experimental",
    "float32",
    "from_device",
    "from_host_shards",
    "from_torch",
    "full",
    "ge",
    "get_device_tensors",
    "get_num_devices",
    "install",
    "int32",
    "interleaved_to_sharded",
    "linear",
    "load_tensor",
    "lt",
    "manual_seed",
    "matmul",
    "mesh_partition",
    "multiply",
    "multiply_",
    "ne",
    "num_cores_to_corerangeset",
    "ones",
    "open_mesh_device",
    "pad",
    "permute",
    "plus_one",
    "record",
    "record_event",
    "reduce_scatter",
    "release_trace",
    "replicate_tensor_to_mesh_mapper",
    "reshape",
    "rms_norm",
    "sampling",
    "scale_mask_softmax",
    "scatter",
    "set_fabric_config",
    "shard_tensor_to_mesh_mapper",
    "sharded_to_interleaved",
    "silu",
    "slice",
    "softmax",
    "sparse_matmul",
    "specs_only",
    "subtract",
    "sum",
    "synchronize_device",
    "tilize",
    "to_device",
    "to_layout",
    "to_memory_config",
    "to_torch",
    "topk",
    "transformer",
    "transpose",
    "typecast",
    "uint8",
    "uint16",
    "uint32",
    "unsqueeze_to_4D",
    "untilize",
    "where",
    "zeros",
    "zeros_like",
]
