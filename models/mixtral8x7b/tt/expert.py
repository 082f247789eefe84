from dataclasses import dataclass

import torch
import ttnn

from models.mixtral8x7b.tt.layouts import (
    ALL_CORES,
    block_matmul,
    cores_for,
    decode_matmul,
    even_columns,
    over_dram_banks,
    residual_cores,
    tiles,
)
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Matrix, Precision
from models.mixtral8x7b.tt.row_list import BLOCK_ROWS
from models.mixtral8x7b.tt.weights import ReadTensor, Weights, with_rows


@dataclass(frozen=True)
class ExpertMatrix:
    """w1, w2 or w3, and its products with a decode step's rows, with all rows of a pass, and with blocks of them."""

    weight: ttnn.Tensor
    kernel: ttnn.WormholeComputeKernelConfig
    decode_program: ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig
    block_programs: dict[int, ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig]  # by the rows of a block

    def with_decode_rows(self, x: ttnn.Tensor) -> ttnn.Tensor:
        return ttnn.linear(
            x,
            self.weight,
            program_config=self.decode_program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=self.kernel,
        )

    def with_all_rows(
        self, x: ttnn.Tensor, dtype: ttnn.DataType, activation: ttnn.UnaryWithParam | None = None
    ) -> ttnn.Tensor:
        return ttnn.experimental.minimal_matmul(
            x,
            self.weight,
            fused_activation=activation,
            dtype=dtype,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            compute_kernel_config=self.kernel,
        )

    def with_blocks(self, x: ttnn.Tensor, in_use: ttnn.Tensor, dtype: ttnn.DataType) -> ttnn.Tensor:
        return ttnn.sparse_matmul(
            x,
            self.weight,
            sparsity=in_use,
            program_config=self.block_programs[x.shape[2]],
            is_input_a_sparse=True,
            is_input_b_sparse=False,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            dtype=dtype,
            compute_kernel_config=self.kernel,
        )


class Expert:
    """w2(silu(w1 x) * w3 x), a different expert on each chip.

    `slot` counts the experts of a chip: slot s is expert d*L + s on chip d, where each chip has L experts [L = 1].
    Where hidden_dim is padded, w1 and w3 give zeros there, and so do silu and product.
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int, slot: int) -> None:
        config, n = weights.config, mesh.n_devices
        local = config.moe.num_experts // n
        self._activations = precision.expert_activations
        hidden = even_columns(config.hidden_dim)
        narrow = (config.dim, residual_cores(config.dim))
        wide = (hidden, cores_for(tiles(hidden), ALL_CORES))

        def load(w: str, matrix: Matrix, given: tuple[int, int], made: tuple[int, int]) -> ExpertMatrix:
            """The widths and cores of what it is given and of what it makes."""
            (rows, in_cores), (columns, out_cores) = given, made

            def make(read: ReadTensor, chip: int) -> torch.Tensor:
                stored = read(f"layers.{layer}.feed_forward.experts.{chip * local + slot}.{w}.weight")
                return with_rows(with_rows(stored, columns).T, rows)[None, None]

            weight = weights.load(
                f"layers.{layer}.feed_forward.experts.slot{slot}.{w}",
                (n, 1, rows, columns),
                make,
                matrix.dtype,
                Placement.ONE_PER_DEVICE,
                memory_config=over_dram_banks(rows, columns, mesh.dram_banks),
            )
            decode_program = decode_matmul(rows, columns, in_cores, out_cores, mesh.dram_banks, matrix.dtype)
            block_programs = {size: block_matmul(size, rows, columns) for size in BLOCK_ROWS}
            return ExpertMatrix(weight, matrix.kernel, decode_program, block_programs)

        self.w1 = load("w1", precision.w1, narrow, wide)
        self.w2 = load("w2", precision.w2, wide, narrow)
        self.w3 = load("w3", precision.w3, narrow, wide)

    def forward_decode(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, 32, dim] -> [1, 1, 32, dim], in L1, a different result on each chip."""
        gate = self.w1.with_decode_rows(x)
        up = self.w3.with_decode_rows(x)
        hidden = ttnn.multiply(
            gate,
            up,
            input_tensor_a_activations=[ttnn.UnaryOpType.SILU],
            dtype=self._activations,
            memory_config=gate.memory_config(),
        )
        ttnn.deallocate(gate)
        ttnn.deallocate(up)
        out = self.w2.with_decode_rows(hidden)
        ttnn.deallocate(hidden)
        return out

    def forward_prefill(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, T, dim] in expert_activations -> bf16 [1, 1, T, dim], in DRAM, a different result on each chip."""
        gate = self.w1.with_all_rows(x, self._activations, ttnn.UnaryWithParam(ttnn.UnaryOpType.SILU))
        up = self.w3.with_all_rows(x, self._activations)
        ttnn.multiply_(gate, up)
        ttnn.deallocate(up)
        out = self.w2.with_all_rows(gate, ttnn.bfloat16)
        ttnn.deallocate(gate)
        return out

    def forward_blocks(self, blocks: ttnn.Tensor, in_use: ttnn.Tensor) -> ttnn.Tensor:
        """[A, 1, M, dim] in expert_activations -> bf16 [A, 1, M, dim], 0 for blocks not in use. Frees blocks.

        The matmul has no silu inside, so the gate stays bf16 until it is through one; the product takes up's place.
        """
        gate = self.w1.with_blocks(blocks, in_use, ttnn.bfloat16)
        up = self.w3.with_blocks(blocks, in_use, self._activations)
        ttnn.deallocate(blocks)
        ttnn.multiply_(up, gate, input_tensor_b_activations=[ttnn.UnaryOpType.SILU])
        ttnn.deallocate(gate)
        out = self.w2.with_blocks(up, in_use, ttnn.bfloat16)
        ttnn.deallocate(up)
        return out
