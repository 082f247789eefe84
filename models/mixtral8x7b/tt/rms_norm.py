import ttnn

from models.mixtral8x7b.tt.layouts import TILE, residual, residual_cores, residual_grid, tiles
from models.mixtral8x7b.tt.mesh import Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weights import Weights

WIDEST_IN_ROWS = 4096  # a wider norm needs its weight in tiles: with rows, prefill's kernel wants more L1 than there is
WIDEST_SUBBLOCK = 4  # tiles that the kernel holds at once with float32 accumulation


class RMSNorm:
    """x / sqrt(mean(x^2) + eps) * weight. The weight is whole on every chip; `name` is its name without ".weight"."""

    def __init__(self, weights: Weights, precision: Precision, name: str) -> None:
        config = weights.config
        self._eps = config.norm_eps
        self._kernel = precision.norm
        self._residual = residual(config.dim)
        per_core = tiles(config.dim) // residual_cores(config.dim)
        self._program = ttnn.LayerNormShardedMultiCoreProgramConfig(
            compute_with_storage_grid_size=residual_grid(config.dim),
            subblock_w=max(width for width in range(1, WIDEST_SUBBLOCK + 1) if per_core % width == 0),
            block_h=1,
            block_w=per_core,
            inplace=False,
        )
        in_rows = config.dim <= WIDEST_IN_ROWS  # of 32: the form in which the kernel reads it without tiles
        shape = (1, 1, config.dim // TILE, TILE) if in_rows else (1, 1, 1, config.dim)
        self._weight = weights.load(
            name,
            shape,
            lambda read, chip: read(f"{name}.weight").reshape(shape),
            ttnn.bfloat16,
            Placement.REPLICATED,
            layout=ttnn.ROW_MAJOR_LAYOUT if in_rows else ttnn.TILE_LAYOUT,
        )

    def forward_decode(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, 32, dim] in the residual's L1 layout, in and out."""
        return ttnn.rms_norm(
            x,
            epsilon=self._eps,
            weight=self._weight,
            program_config=self._program,
            compute_kernel_config=self._kernel,
            memory_config=self._residual,
        )

    def forward_prefill(self, x: ttnn.Tensor) -> ttnn.Tensor:
        """[1, 1, rows of this chip, dim] in DRAM, in and out: a row needs no other chip."""
        return ttnn.rms_norm(
            x,
            epsilon=self._eps,
            weight=self._weight,
            compute_kernel_config=self._kernel,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
        )
