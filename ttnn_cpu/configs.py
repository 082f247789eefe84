"""Program and compute-kernel configs.

They choose how silicon does the work, not what it computes, except for `fused_activation`. This backend checks their
class and the facts that ttnn checks cheaply, and ignores the rest, but for `chip_values`, in which they decide how
sums are rounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ttnn_cpu.cores import CoreCoord, CoreCoordLike, core_coord
from ttnn_cpu.enums import MathFidelity, UnaryOpType


@dataclass(frozen=True, init=False)
class UnaryWithParam:
    """An activation and its parameters; none of the implemented activations has parameters."""

    op_type: UnaryOpType
    params: list[float] = field(default_factory=list)

    def __init__(self, op_type: UnaryOpType) -> None:
        if not isinstance(op_type, UnaryOpType):
            raise TypeError(f"UnaryWithParam takes a UnaryOpType, got {op_type!r}")
        object.__setattr__(self, "op_type", op_type)
        object.__setattr__(self, "params", [])

    def __hash__(self) -> int:
        return hash(self.op_type)


Activation: TypeAlias = UnaryWithParam | UnaryOpType


def activation_of(value: Activation | None) -> UnaryWithParam | None:
    return UnaryWithParam(value) if isinstance(value, UnaryOpType) else value


def activations_of(values: Sequence[Activation]) -> list[UnaryOpType]:
    """The list form of the elementwise operations; a name such as 'silu' is refused, as by ttnn's bindings."""
    found = []
    for value in values:
        if not isinstance(value, UnaryWithParam | UnaryOpType):
            raise TypeError(f"an activation is a UnaryOpType or UnaryWithParam, got {value!r}")
        found.append(value.op_type if isinstance(value, UnaryWithParam) else value)
    return found


class _Config:
    """Converts grids to CoreCoord and a bare UnaryOpType to UnaryWithParam, and checks the classes of plain fields."""

    compute_with_storage_grid_size: CoreCoordLike

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name == "compute_with_storage_grid_size":
                object.__setattr__(self, name, core_coord(value))
            elif name == "fused_activation":
                object.__setattr__(self, name, activation_of(value))
            elif name != "math_fidelity" and value is not None and not isinstance(value, int):
                raise TypeError(f"{type(self).__name__}: {name} must be an integer or a bool, got {value!r}")
        # as ttnn's constructors do: the block is the whole of a core's work unless given
        for block, whole in (("out_block_h", "per_core_M"), ("out_block_w", "per_core_N")):
            if getattr(self, block, 0) is None:
                object.__setattr__(self, block, getattr(self, whole))

    @property
    def grid(self) -> CoreCoord:
        return core_coord(self.compute_with_storage_grid_size)


@dataclass(frozen=True, kw_only=True)
class WormholeComputeKernelConfig(_Config):
    math_fidelity: MathFidelity = MathFidelity.Invalid
    math_approx_mode: bool = True
    fp32_dest_acc_en: bool = False
    packer_l1_acc: bool = False
    dst_full_sync_en: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.math_fidelity, MathFidelity):
            raise TypeError(f"math_fidelity must be a MathFidelity, got {self.math_fidelity!r}")


@dataclass(frozen=True, kw_only=True)
class LayerNormDefaultProgramConfig(_Config):
    legacy_reduction: bool = False
    legacy_rsqrt: bool = False
    use_welford: bool = False


@dataclass(frozen=True, kw_only=True)
class LayerNormShardedMultiCoreProgramConfig(_Config):
    compute_with_storage_grid_size: CoreCoordLike
    subblock_w: int
    block_h: int
    block_w: int
    inplace: bool


@dataclass(frozen=True, kw_only=True)
class MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig(_Config):
    """Activation sharded in L1, weight sharded over the DRAM banks: reads the weight at full DRAM bandwidth."""

    in0_block_w: int
    per_core_M: int
    per_core_N: int
    fused_activation: Activation | None = None
    num_workers_per_dram_bank: int = 1


@dataclass(frozen=True, kw_only=True)
class MatmulMultiCoreReuseMultiCast1DProgramConfig(_Config):
    """Every core takes all rows and a strip of the output's columns (`mcast_in0`)."""

    compute_with_storage_grid_size: CoreCoordLike
    in0_block_w: int
    out_subblock_h: int
    out_subblock_w: int
    out_block_h: int | None = None
    out_block_w: int | None = None
    per_core_M: int
    per_core_N: int
    fuse_batch: bool
    fused_activation: Activation | None = None
    mcast_in0: bool


@dataclass(frozen=True, kw_only=True)
class MatmulMultiCoreReuseMultiCastProgramConfig(_Config):
    """The output in blocks over a 2-D grid: rows over grid rows, columns over grid columns."""

    compute_with_storage_grid_size: CoreCoordLike
    in0_block_w: int
    out_subblock_h: int
    out_subblock_w: int
    out_block_h: int | None = None
    out_block_w: int | None = None
    per_core_M: int
    per_core_N: int
    transpose_mcast: bool
    fused_activation: Activation | None = None
    fuse_batch: bool = True


@dataclass(frozen=True, kw_only=True)
class MinimalMatmulConfig(_Config):
    M_block_size: int = 1
    K_block_size: int = 1
    N_block_size: int = 1
    subblock_h: int = 1
    subblock_w: int = 1
    compute_with_storage_grid_size: CoreCoordLike = (1, 1)


@dataclass(frozen=True, kw_only=True)
class SDPAProgramConfig(_Config):
    compute_with_storage_grid_size: CoreCoordLike
    q_chunk_size: int
    k_chunk_size: int
    exp_approx_mode: bool | None = None
    max_cores_per_head_batch: int = 16


MatmulProgramConfig: TypeAlias = (
    MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig
    | MatmulMultiCoreReuseMultiCast1DProgramConfig
    | MatmulMultiCoreReuseMultiCastProgramConfig
)
