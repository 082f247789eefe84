"""Which experts a token goes to, decided in float32 on every chip alike."""

import torch
import ttnn

from models.mixtral8x7b.config import Routing
from models.mixtral8x7b.tt.layouts import NARROWEST_TOPK, NEVER, residual_cores, residual_grid, tiles
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weights import Weights, with_rows


class Router:
    """Logits, top-k, and from them the weight of each of this chip's experts for every token.

    N tokens, A experts per token. Experts are counted over the chips: chip d has d*L .. d*L + L - 1 of L local experts.
    """

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int) -> None:
        config = weights.config
        self._mesh = mesh
        self._kernel = precision.router
        self._routing = config.moe.routing
        self._experts_per_token = config.moe.num_experts_per_tok
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
        local = config.moe.num_experts // mesh.n_devices
        ids = torch.arange(config.moe.num_experts, dtype=torch.int32).reshape(mesh.n_devices, local, 1, 1)
        self._own_ids = [
            mesh.put(ids[:, slot : slot + 1], ttnn.uint32, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
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

    def forward_decode(self, x_ND: ttnn.Tensor) -> list[ttnn.Tensor]:
        """Normed [1, 1, 32, D] -> for each local expert its weight of every row, [1, 1, 32, 1] bf16 (0: not chosen)."""
        logits = ttnn.linear(
            x_ND,
            self._gate,
            bias=self._bias,
            program_config=self._program,
            memory_config=ttnn.L1_MEMORY_CONFIG,
            dtype=ttnn.float32,
            compute_kernel_config=self._kernel,
        )
        shares, chosen = self._choose(logits, ttnn.L1_MEMORY_CONFIG)
        return self._own_weights(shares, chosen, ttnn.L1_MEMORY_CONFIG)

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
        shares, chosen = self._choose(logits, ttnn.DRAM_MEMORY_CONFIG)
        shares, chosen = self._mesh.gather_rows(shares), self._mesh.gather_rows(chosen)
        return self._own_weights(shares, chosen, ttnn.DRAM_MEMORY_CONFIG)

    def _choose(self, logits: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> tuple[ttnn.Tensor, ttnn.Tensor]:
        """float32 logits -> the chosen experts' shares, float32, and indices, uint32, both [1, 1, N, A]. Frees logits.

        Stable: of equal logits the lowest index is first, on every chip, so the chips agree on who is chosen.
        """
        if self._routing is Routing.RENORMALIZE:
            best, chosen = self._top(logits)
            shares = self._softmax(best, memory_config)
            ttnn.deallocate(best)
        else:
            all_shares = self._softmax(logits, memory_config)
            shares, chosen = self._top(all_shares)
            ttnn.deallocate(all_shares)
        ttnn.deallocate(logits)
        return shares, chosen

    def _softmax(self, scores: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
        return ttnn.softmax(
            scores, dim=-1, memory_config=memory_config, compute_kernel_config=self._kernel, numeric_stable=True
        )

    def _top(self, scores: ttnn.Tensor) -> tuple[ttnn.Tensor, ttnn.Tensor]:
        best, chosen = ttnn.topk(scores, self._experts_per_token, dim=-1, largest=True, sorted=True, stable=True)
        return best, chosen

    def _own_weights(
        self, shares: ttnn.Tensor, chosen: ttnn.Tensor, memory_config: ttnn.MemoryConfig
    ) -> list[ttnn.Tensor]:
        """Picks each local expert's share out of the chosen ones. Frees both."""
        weights = []
        for own_id in self._own_ids:
            is_own = ttnn.eq(chosen, own_id, dtype=ttnn.bfloat16, memory_config=memory_config)
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
        ttnn.deallocate(chosen)
        return weights


def padded_experts(num_experts: int) -> int:
    """Columns of the router's weight: a power of two that top-k takes without padding [8: 64]."""
    return max(NARROWEST_TOPK, 1 << (num_experts - 1).bit_length())
