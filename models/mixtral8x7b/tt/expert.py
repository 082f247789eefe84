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
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.row_list import BLOCK_ROWS
from models.mixtral8x7b.tt.weights import ReadTensor, Weights, with_rows


class Expert:
    """w2(silu(w1 x) * w3 x), a different expert on each chip.

    `slot` counts the experts of a chip: slot s is expert d*L + s on chip d, where each chip has L experts [L = 1].
    Where hidden_dim is padded, w1 and w3 give zeros there, and so do silu and product.
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int, slot: int) -> None:
        config, n = weights.config, mesh.n_devices
        local = config.moe.num_experts // n
        self._kernel = precision.experts
        self._activations = precision.expert_activations
        dim, hidden = config.dim, even_columns(config.hidden_dim)
        cores = residual_cores(dim)
        hidden_cores = cores_for(tiles(hidden), ALL_CORES)
        banks, dtype = mesh.dram_banks, precision.expert_weights
        self._up_program = decode_matmul(dim, hidden, cores, hidden_cores, banks, dtype)
        self._down_program = decode_matmul(hidden, dim, hidden_cores, cores, banks, dtype)
        self._up_blocks = {rows: block_matmul(rows, dim, hidden) for rows in BLOCK_ROWS}
        self._down_blocks = {rows: block_matmul(rows, hidden, dim) for rows in BLOCK_ROWS}

        def load(w: str, rows: int, columns: int) -> ttnn.Tensor:
            def make(read: ReadTensor, chip: int) -> torch.Tensor:
                stored = read(f"layers.{layer}.feed_forward.experts.{chip * local + slot}.{w}.weight")
                return with_rows(with_rows(stored, columns).T, rows)[None, None]

            return weights.load(
                f"layers.{layer}.feed_forward.experts.slot{slot}.{w}",
                (n, 1, rows, columns),
                make,
                dtype,
                Placement.ONE_PER_DEVICE,
                memory_config=over_dram_banks(rows, columns, banks),
            )

        self._w1, self._w2, self._w3 = load("w1", dim, hidden), load("w2", hidden, dim), load("w3", dim, hidden)

    def forward_decode(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, 32, dim] -> [1, 1, 32, dim], in L1, a different result on each chip."""
        gate = self._decode_linear(x, self._w1, self._up_program)
        up = self._decode_linear(x, self._w3, self._up_program)
        hidden = ttnn.multiply(
            gate,
            up,
            input_tensor_a_activations=[ttnn.UnaryOpType.SILU],
            dtype=self._activations,
            memory_config=gate.memory_config(),
        )
        ttnn.deallocate(gate)
        ttnn.deallocate(up)
        out = self._decode_linear(hidden, self._w2, self._down_program)
        ttnn.deallocate(hidden)
        return out

    def forward_prefill(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, T, dim] in expert_activations -> bf16 [1, 1, T, dim], in DRAM, a different result on each chip."""
        silu = ttnn.UnaryWithParam(ttnn.UnaryOpType.SILU)
        gate = self._prefill_matmul(x, self._w1, self._activations, silu)
        up = self._prefill_matmul(x, self._w3, self._activations)
        ttnn.multiply_(gate, up)
        ttnn.deallocate(up)
        out = self._prefill_matmul(gate, self._w2, ttnn.bfloat16)
        ttnn.deallocate(gate)
        return out

    def forward_blocks(self, blocks: ttnn.Tensor, in_use: ttnn.Tensor) -> ttnn.Tensor:
        """[A, 1, M, dim] in expert_activations -> bf16 [A, 1, M, dim], 0 for blocks not in use. Frees blocks."""
        rows = blocks.shape[2]
        up_program, down_program = self._up_blocks[rows], self._down_blocks[rows]
        gate = self._block_matmul(blocks, self._w1, up_program, in_use, self._activations)
        up = self._block_matmul(blocks, self._w3, up_program, in_use, self._activations)
        ttnn.deallocate(blocks)
        ttnn.multiply_(gate, up, input_tensor_a_activations=[ttnn.UnaryOpType.SILU])
        ttnn.deallocate(up)
        out = self._block_matmul(gate, self._w2, down_program, in_use, ttnn.bfloat16)
        ttnn.deallocate(gate)
        return out

    def _block_matmul(
        self,
        x: ttnn.Tensor,
        weight: ttnn.Tensor,
        program: ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig,
        in_use: ttnn.Tensor,
        dtype: ttnn.DataType,
    ) -> ttnn.Tensor:
        return ttnn.sparse_matmul(
            x,
            weight,
            sparsity=in_use,
            program_config=program,
            is_input_a_sparse=True,
            is_input_b_sparse=False,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            dtype=dtype,
            compute_kernel_config=self._kernel,
        )

    def _decode_linear(
        self,
        x: ttnn.Tensor,
        weight: ttnn.Tensor,
        program: ttnn.MatmulMultiCoreReuseMultiCastDRAMShardedProgramConfig,
    ) -> ttnn.Tensor:
        return ttnn.linear(
            x,
            weight,
            program_config=program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=self._kernel,
        )

    def _prefill_matmul(
        self,
        x: ttnn.Tensor,
        weight: ttnn.Tensor,
        dtype: ttnn.DataType,
        activation: ttnn.UnaryWithParam | None = None,
    ) -> ttnn.Tensor:
        return ttnn.experimental.minimal_matmul(
            x,
            weight,
            fused_activation=activation,
            dtype=dtype,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            compute_kernel_config=self._kernel,
        )
