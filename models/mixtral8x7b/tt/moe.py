from collections.abc import Iterable, Iterator

import ttnn

from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.router import Router
from models.mixtral8x7b.tt.row_list import RowLister
from models.mixtral8x7b.tt.weights import Weights


class MoE:
    """Each chip runs its own experts on every token, weighted by the router (0 where not chosen); the chips are summed.

    In decode nothing is wasted: 32 tokens with two choices each hit all 8 experts, so every weight must be read. In
    prefill 3/4 of the work is on tokens that other experts serve.
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int) -> None:
        self._mesh = mesh
        self._activations = precision.expert_activations
        self._parts = mesh.dtype_of_parts(precision.parts)
        self._residual = residual(weights.config.dim)
        self._router = Router(weights, mesh, precision, layer)
        slots = weights.config.moe.num_experts // mesh.n_devices
        self._experts = [Expert(weights, mesh, precision, layer, slot) for slot in range(slots)]

    def forward_decode(self, x_BD: ttnn.Tensor, choices: ExpertChoices | None = None) -> ttnn.Tensor:
        """Normed [1, 1, 32, D] -> [1, 1, 32, D], both whole on every chip, in L1. Frees x."""
        row_weights = self._router.forward_decode(x_BD, choices)
        outs = (expert.forward_decode(x_BD) for expert in self._experts)
        total = _weighted_sum(outs, row_weights, self._parts, self._residual)
        ttnn.deallocate(x_BD)
        return self._mesh.sum_over_devices(total, self._residual)

    def forward_prefill(self, x_TD: ttnn.Tensor, lister: RowLister | None = None) -> ttnn.Tensor:
        """Normed [1, 1, T/n, D] -> [1, 1, T/n, D], each chip 1/n of the rows, in DRAM. Frees x.

        With a lister each expert runs on its own rows, without on all.
        """
        row_weights = self._router.forward_prefill(x_TD)
        rounded = ttnn.typecast(x_TD, self._activations)
        ttnn.deallocate(x_TD)
        all_TD = self._mesh.gather_rows(rounded)
        if lister is None:
            outs: Iterator[ttnn.Tensor] = (expert.forward_prefill(all_TD) for expert in self._experts)
            total = _weighted_sum(outs, row_weights, self._parts, ttnn.DRAM_MEMORY_CONFIG)
            ttnn.deallocate(all_TD)
        else:
            outs = self._of_own_rows(all_TD, row_weights, lister)
            total = _weighted_sum(outs, row_weights, self._parts, ttnn.DRAM_MEMORY_CONFIG)
        return self._mesh.sum_and_split_rows(total)

    def _of_own_rows(
        self, all_TD: ttnn.Tensor, row_weights: list[ttnn.Tensor], lister: RowLister
    ) -> Iterator[ttnn.Tensor]:
        """Of each of a chip's experts the output of the rows that were routed to it, any in the other rows. Frees all.

        The lists come first: what is small must not stand in the place that the rows leave and the blocks fit into.
        """
        lists = [lister.list_rows(weights) for weights in row_weights]
        table_TD = ttnn.to_layout(all_TD, ttnn.ROW_MAJOR_LAYOUT)
        ttnn.deallocate(all_TD)
        table_TD = ttnn.reshape(table_TD, (table_TD.shape[2], table_TD.shape[3]))
        for expert, rows in zip(self._experts, lists, strict=True):
            blocks = rows.blocks_of(table_TD, self._activations)
            if rows is lists[-1]:
                ttnn.deallocate(table_TD)
            out = rows.put_back(expert.forward_blocks(blocks, rows.in_use))
            rows.deallocate()
            yield out


def _weighted_sum(
    outs: Iterable[ttnn.Tensor],
    row_weights: list[ttnn.Tensor],
    dtype: ttnn.DataType,
    memory_config: ttnn.MemoryConfig,
) -> ttnn.Tensor:
    """The sum over a chip's experts of out [1, 1, rows, D] times weight [1, 1, rows, 1]. Frees all of them.

    `outs` is consumed one at a time, so that only one expert's output stands in memory.
    """
    total: ttnn.Tensor | None = None
    for out, weight in zip(outs, row_weights, strict=True):
        weighted = ttnn.multiply(out, weight, dtype=dtype, memory_config=memory_config)
        ttnn.deallocate(out)
        ttnn.deallocate(weight)
        if total is None:
            total = weighted
        else:
            ttnn.add_(total, weighted)
            ttnn.deallocate(weighted)
    assert total is not None
    return total
