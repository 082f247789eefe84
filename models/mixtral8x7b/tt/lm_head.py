import ttnn

from models.mixtral8x7b.tt.layouts import ALL_CORES, cores_for, decode_matmul, over_dram_banks, residual_cores, tiles
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weights import Weights


class LMHead:
    """Residual rows -> logits, each chip its share of the vocabulary."""

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision) -> None:
        config = weights.config
        columns = config.vocab_size // mesh.n_devices
        cores = residual_cores(config.dim)
        self._kernel = precision.lm_head
        self._program = decode_matmul(config.dim, columns, cores, cores_for(tiles(columns), ALL_CORES), mesh.dram_banks)
        self._output = weights.load(
            "output",
            (1, 1, config.dim, config.vocab_size),
            lambda read, chip: read("output.weight").chunk(mesh.n_devices)[chip].T[None, None],
            precision.lm_head_weights,
            Placement.SPLIT_COLUMNS,
            memory_config=over_dram_banks(config.dim, columns, mesh.dram_banks),
        )

    def forward(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """Normed [1, 1, 32, dim] -> bf16 [1, 1, 32, vocab_size / n] in L1, other columns on each chip. Frees x."""
        logits = ttnn.linear(
            x,
            self._output,
            program_config=self._program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=self._kernel,
        )
        ttnn.deallocate(x)
        interleaved = ttnn.sharded_to_interleaved(logits, ttnn.L1_MEMORY_CONFIG)
        ttnn.deallocate(logits)
        return interleaved
