"""What stands behind the last layer: the rows whose logits are wanted, the last norm, the LM head."""

import torch
import ttnn

from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.lm_head import LMHead
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.rms_norm import RMSNorm
from models.mixtral8x7b.tt.weights import Weights


class Head:
    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision) -> None:
        self._mesh, self._precision = mesh, precision
        self._vocab_size, self._residual = weights.config.vocab_size, residual(weights.config.dim)
        self._norm = RMSNorm(weights, precision, "norm")
        self._lm_head = LMHead(weights, mesh, precision)

    def forward(self, x_BD: ttnn.Tensor) -> ttnn.Tensor:
        """Residual [1, 1, 32, D] in its L1 layout -> logits, others on each chip. Frees x."""
        normed = self._norm.forward_decode(x_BD)
        ttnn.deallocate(x_BD)
        return self._lm_head.forward(normed)

    def rows(self, x_TD: ttnn.Tensor, select: ttnn.Tensor) -> ttnn.Tensor:
        """32 rows of a pass, [1, 1, 32, D] in the decode residual's layout, as `row_selection` says.

        A product with 0s and 1s picks rows by data, not by shape: one program for every length.
        """
        rows_BD = ttnn.matmul(
            select,
            x_TD,
            dtype=ttnn.bfloat16,
            memory_config=ttnn.L1_MEMORY_CONFIG,
            compute_kernel_config=self._precision.row_selection,
        )
        return self._mesh.sum_over_devices(rows_BD, self._residual)

    def copy_logits(self, logits: ttnn.Tensor) -> torch.Tensor:
        """Logits on the host, float32 [32, vocab_size]."""
        return self._mesh.read_columns(logits)[0, 0, :, : self._vocab_size].float()
