import torch
import ttnn

from models.mixtral8x7b.tt.layouts import (
    ALL_CORES,
    cores_for,
    decode_matmul,
    over_dram_banks,
    residual_cores,
    tiles,
    vocabulary_pieces,
)
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weights import ReadTensor, Weights, with_rows


class LMHead:
    """Residual rows -> logits, each chip its share of the vocabulary, filled up with zeros where that ends.

    A share that is too wide for one matmul is made in pieces, side by side [1 piece].
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision) -> None:
        config, n, dtype = weights.config, mesh.n_devices, precision.lm_head.dtype
        n_pieces, columns = vocabulary_pieces(config.vocab_size, n)
        in_cores, out_cores = residual_cores(config.dim), cores_for(tiles(columns), ALL_CORES)
        self._kernel = precision.lm_head.kernel
        self._program = decode_matmul(config.dim, columns, in_cores, out_cores, mesh.dram_banks, dtype)

        def load(piece: int) -> ttnn.Tensor:
            def make(read: ReadTensor, chip: int) -> torch.Tensor:
                first = (chip * n_pieces + piece) * columns
                return with_rows(read("output.weight")[first : first + columns], columns).T[None, None]

            return weights.load(
                "output" if n_pieces == 1 else f"output.piece{piece}",
                (1, 1, config.dim, n * columns),
                make,
                dtype,
                Placement.SPLIT_COLUMNS,
                memory_config=over_dram_banks(config.dim, columns, mesh.dram_banks),
            )

        self._pieces = [load(piece) for piece in range(n_pieces)]

    def forward(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """Normed [1, 1, 32, dim] -> bf16 [1, 1, 32, vocabulary_columns] in L1, other columns on each chip. Frees x."""
        logits = [self._linear(x, weight) for weight in self._pieces]
        ttnn.deallocate(x)
        if len(logits) == 1:
            return logits[0]
        side_by_side = ttnn.concat(logits, dim=3, memory_config=ttnn.L1_MEMORY_CONFIG)
        for piece in logits:
            ttnn.deallocate(piece)
        return side_by_side

    def _linear(self, x: ttnn.Tensor, weight: ttnn.Tensor) -> ttnn.Tensor:
        logits = ttnn.linear(
            x,
            weight,
            program_config=self._program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=self._kernel,
        )
        interleaved = ttnn.sharded_to_interleaved(logits, ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(logits)
        return interleaved
