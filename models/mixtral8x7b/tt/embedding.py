import ttnn

from models.mixtral8x7b.tt.layouts import residual, vocabulary_columns
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.weights import Weights, with_rows


class Embedding:
    """Token ids -> residual rows. The table is whole on every chip, bf16, row-major: a row is one DRAM read.

    It has a row for each of the LM head's columns, padding too: no id that a row of garbage may draw is beyond it.
    """

    def __init__(self, weights: Weights, mesh: Mesh) -> None:
        config = weights.config
        self._residual = residual(config.dim)
        n_rows = mesh.n_devices * vocabulary_columns(config.vocab_size, mesh.n_devices)
        self._table_VD = weights.load(
            "tok_embeddings",
            (1, 1, n_rows, config.dim),
            lambda read, chip: with_rows(read("tok_embeddings.weight"), n_rows)[None, None],
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
