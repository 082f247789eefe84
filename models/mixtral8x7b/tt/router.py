"""Which experts a token goes to, decided in float32 on every chip alike."""

import torch
import ttnn

from models.mixtral8x7b.config import Routing
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.layouts import NARROWEST_TOPK, NEVER, TILE, residual_cores, residual_grid, tiles
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weights import Weights, with_rows

RANKS = TILE  # a tile of the best experts is taken, not the chosen ones alone: nothing must then fill up a tile
NOBODY = 1 << 16  # no expert's id


class Router:
    """Logits, top-k, and from them the weight of each of this chip's experts for every token.

    N tokens. Experts are counted over the chips: chip d has d*L .. d*L + L - 1 of L local experts.
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int) -> None:
        config = weights.config
        self._mesh, self._layer = mesh, layer
        self._kernel = precision.router
        self._routing = config.moe.routing
        width = padded_experts(config.moe.num_experts)
        self._gate = weights.load(
            f"layers.{layer}.feed_forward.gate",
            (1, 1, config.dim, width),
            lambda read, chip: with_rows(read(f"layers.{layer}.feed_forward.gate.weight"), width).T[None, None],
            ttnn.bfloat16,
            Placement.REPLICATED,
        )
        bias = torch.zeros(1, 1, 1, width)
        bias[..., config.moe.num_experts :] = NEVER
        self._bias = mesh.put(bias, ttnn.bfloat16, ttnn.TILE_LAYOUT)
        ranks = torch.arange(RANKS).reshape(1, 1, 1, RANKS)
        is_chosen = ranks < config.moe.num_experts_per_tok
        self._unchosen = mesh.put(torch.where(is_chosen, 0.0, NEVER), ttnn.bfloat16, ttnn.TILE_LAYOUT)
        local = config.moe.num_experts // mesh.n_devices
        ids = torch.arange(config.moe.num_experts, dtype=torch.int32).reshape(mesh.n_devices, local, 1, 1)
        own_ids = torch.where(is_chosen, ids, NOBODY)
        self._own_ids = [
            mesh.put(own_ids[:, slot : slot + 1], ttnn.uint32, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
            for slot in range(local)
        ]
        cores = residual_cores(config.dim)
        self._program = ttnn.MatmulMultiCoreReuseMultiCast1DProgramConfig(
            compute_with_storage_grid_size=residual_grid(config.dim),
            in0_block_w=tiles(config.dim) // cores,
            out_subblock_h=1,
            out_subblock_w=1,
            per_core_M=1,
            per_core_N=-(-tiles(width) // cores),
            fuse_batch=True,
            mcast_in0=True,
        )

    def forward_decode(self, x_ND: ttnn.Tensor, choices: ExpertChoices | None = None) -> list[ttnn.Tensor]:
        """Normed [1, 1, 32, D] -> for each local expert its weight of every row, [1, 1, 32, 1] bf16 (0: not chosen).

        The chosen experts are noted in `choices`, if there are any.
        """
        logits = ttnn.linear(
            x_ND,
            self._gate,
            bias=self._bias,
            program_config=self._program,
            memory_config=ttnn.L1_MEMORY_CONFIG,
            dtype=ttnn.float32,
            compute_kernel_config=self._kernel,
        )
        shares, ids = self._rank(logits, ttnn.L1_MEMORY_CONFIG)
        if choices is not None:
            choices.note(self._layer, ids)
        return self._own_weights(shares, ids, ttnn.L1_MEMORY_CONFIG)

    def forward_prefill(self, x_ND: ttnn.Tensor) -> list[ttnn.Tensor]:
        """Normed rows of this chip [1, 1, N/n, D] -> for each local expert its weight of all N rows, [1, 1, N, 1]."""
        logits = ttnn.linear(
            x_ND,
            self._gate,
            bias=self._bias,
            memory_config=ttnn.DRAM_MEMORY_CONFIG,
            dtype=ttnn.float32,
            compute_kernel_config=self._kernel,
        )
        shares, ids = self._rank(logits, ttnn.DRAM_MEMORY_CONFIG)
        shares, ids = self._mesh.gather_rows(shares), self._mesh.gather_rows(ids)
        return self._own_weights(shares, ids, ttnn.DRAM_MEMORY_CONFIG)

    def _rank(self, logits: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> tuple[ttnn.Tensor, ttnn.Tensor]:
        """float32 logits -> the best experts' shares, float32, and ids, uint32, both [1, 1, N, RANKS]. Frees logits.

        The chosen ones come first; of those behind them the shares mean nothing. Stable: of equal logits the lowest id
        is first, on every chip, so the chips agree on who is chosen.
        """
        if self._routing is Routing.RENORMALIZE:
            best, ids = ttnn.topk(logits, RANKS, dim=-1, largest=True, sorted=True, stable=True)
            shares = ttnn.scale_mask_softmax(
                best, mask=self._unchosen, memory_config=memory_config, compute_kernel_config=self._kernel
            )
            ttnn.deallocate(best)
        else:
            all_shares = ttnn.softmax(
                logits, dim=-1, memory_config=memory_config, compute_kernel_config=self._kernel, numeric_stable=True
            )
            shares, ids = ttnn.topk(all_shares, RANKS, dim=-1, largest=True, sorted=True, stable=True)
            ttnn.deallocate(all_shares)
        ttnn.deallocate(logits)
        return shares, ids

    def _own_weights(
        self, shares: ttnn.Tensor, ids: ttnn.Tensor, memory_config: ttnn.MemoryConfig
    ) -> list[ttnn.Tensor]:
        """Picks each local expert's share out of the chosen ones'. Frees both."""
        weights = []
        for own_id in self._own_ids:
            is_own = ttnn.eq(ids, own_id, dtype=ttnn.bfloat16, memory_config=memory_config)
            own_shares = ttnn.multiply(shares, is_own, dtype=ttnn.bfloat16, memory_config=memory_config)
            weights.append(
                ttnn.sum(
                    own_shares,
                    dim=-1,
                    keepdim=True,
                    memory_config=memory_config,
                    compute_kernel_config=self._kernel,
                )
            )
            ttnn.deallocate(is_own)
            ttnn.deallocate(own_shares)
        ttnn.deallocate(shares)
        ttnn.deallocate(ids)
        return weights


def padded_experts(num_experts: int) -> int:
    """Columns of the router's weight: a power of two that top-k takes without padding [8: 64]."""
    return max(NARROWEST_TOPK, 1 << (num_experts - 1).bit_length())
