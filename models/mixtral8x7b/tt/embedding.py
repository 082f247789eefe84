import ttnn

from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.weights import Weights


class Embedding:
    """Token ids -> residual rows. The table is whole on every chip, bf16, row-major: a row is one DRAM read."""

    def __init__(self, weights: Weights, mesh: Mesh) -> None:
        config = weights.config
        self._residual = residual(config.dim)
        self._table_VD = weights.load(
            "tok_embeddings",
            (1, 1, config.vocab_size, config.dim),
            lambda read, chip: read("tok_embeddings.weight")[None, None],
            ttnn.bfloat16,
            Placement.REPLICATED,
            layout=ttnn.ROW_MAJOR_LAYOUT,
        )

    def forward_decode(self, ids_B: ttnn.Tensor) -> ttnn.Tensor:
        """uint32 [1, 1, 1, 32] -> [1, 1, 32, dim] bf16, split over L1 of the residual's cores."""
        rows = ttnn.embedding(
            ids_B,
            self._table_VD,
            layout=ttnn.TILE_LAYOUT,
            dtype=ttnn.bfloat16,
            memory_config=self._residual,
        )
        return ttnn.unsqueeze_to_4D(rows)

    def forward_prefill(self, ids_T: ttnn.Tensor) -> ttnn.Tensor:
        """uint32 [1, 1, 1, tokens of this chip] -> [1, 1, tokens of this chip, dim] bf16 in DRAM."""
        rows = ttnn.embedding(
            ids_T,
            self._table_VD,
            layout=ttnn.TILE_LAYOUT,
            dtype=ttnn.bfloat16,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
        )
        return ttnn.unsqueeze_to_4D(rows)
