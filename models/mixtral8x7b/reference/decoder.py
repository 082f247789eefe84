from torch import Tensor, nn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.attention import Attention
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.moe import MoE
from models.mixtral8x7b.reference.observe import Observe, nobody, under
from models.mixtral8x7b.reference.rms_norm import RMSNorm


class DecoderBlock(nn.Module):
    """One layer: x + attention(norm(x)), then + moe(norm(that))."""

    def __init__(self, config: MixtralConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config, layer)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.feed_forward = MoE(config)

    def forward(
        self,
        x_BSD: Tensor,
        cos_SP: Tensor,
        sin_SP: Tensor,
        cache: KVCache | None = None,
        observe: Observe = nobody,
    ) -> Tensor:
        """Tells observe "attention_norm", "attention", "ffn_norm", "feed_forward" [B, S, D] and the MoE's values."""
        normed = self.attention_norm(x_BSD)
        attended = self.attention(normed, cos_SP, sin_SP, cache)
        x_BSD = x_BSD + attended
        ffn_normed = self.ffn_norm(x_BSD)
        fed = self.feed_forward(ffn_normed, under("feed_forward", observe))
        for name, value in (
            ("attention_norm", normed),
            ("attention", attended),
            ("ffn_norm", ffn_normed),
            ("feed_forward", fed),
        ):
            observe(name, value)
        return x_BSD + fed
