import ttnn

from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import residual
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.moe import MoE
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.rms_norm import RMSNorm
from models.mixtral8x7b.tt.steps import DecodeStep, PrefillPass
from models.mixtral8x7b.tt.weights import Weights


class DecoderBlock:
    """One layer: x + attention(norm(x)), then + moe(norm(that))."""

    def __init__(self, weights: Weights, mesh: Mesh, precision: Precision, layer: int) -> None:
        self._residual = residual(weights.config.dim)
        self._attention_norm = RMSNorm(weights, precision, f"layers.{layer}.attention_norm")
        self._attention = Attention(weights, mesh, precision, layer)
        self._ffn_norm = RMSNorm(weights, precision, f"layers.{layer}.ffn_norm")
        self._moe = MoE(weights, mesh, precision, layer)

    def forward_decode(self, x_BD: ttnn.Tensor, cache: KVCache, step: DecodeStep) -> ttnn.Tensor:
        """The residual [1, 1, 32, D], whole on every chip, in L1. Frees x."""
        attended = self._attention.forward_decode(self._attention_norm.forward_decode(x_BD), cache, step)
        x_BD = _added(x_BD, attended, self._residual)
        fed = self._moe.forward_decode(self._ffn_norm.forward_decode(x_BD), step.choices)
        return _added(x_BD, fed, self._residual)

    def forward_prefill(self, x_TD: ttnn.Tensor, cache: KVCache, layout: PrefillPass) -> ttnn.Tensor:
        """The residual [1, 1, T/n, D], each chip 1/n of the rows, in DRAM. Frees x."""
        attended = self._attention.forward_prefill(self._attention_norm.forward_prefill(x_TD), cache, layout)
        x_TD = _added(x_TD, attended, ttnn.DRAM_MEMORY_CONFIG)
        fed = self._moe.forward_prefill(self._ffn_norm.forward_prefill(x_TD), layout.lister)
        return _added(x_TD, fed, ttnn.DRAM_MEMORY_CONFIG)


def _added(x: ttnn.Tensor, more: ttnn.Tensor, memory_config: ttnn.MemoryConfig) -> ttnn.Tensor:
    """x + more. Frees both."""
    total = ttnn.add(x, more, memory_config=memory_config)
    ttnn.deallocate(x)
    ttnn.deallocate(more)
    return total
