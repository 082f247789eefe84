"""The reference model, made quick enough to train: same parameters and results, other positions on request.

Rows of 1000 tokens train several times faster with torch's fused attention than with the reference's written-out one.

Shapes: B rows, S tokens, D dim, H query heads, G KV heads, K head_dim, P rotary pairs.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from models.mixtral8x7b.config import MixtralConfig, MoeConfig
from models.mixtral8x7b.reference.attention import Attention
from models.mixtral8x7b.reference.decoder import DecoderBlock
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.reference.observe import Observe, nobody, under
from models.mixtral8x7b.reference.rope import apply_rope, rope_tables

# Small enough for two CPU cores; every slice of an eighth is a whole number of 32-wide tiles, as at full size.
TINY = MixtralConfig(
    dim=256,
    n_layers=3,
    head_dim=32,
    hidden_dim=128,
    n_heads=16,
    n_kv_heads=8,
    norm_eps=1e-5,
    vocab_size=1024,
    moe=MoeConfig(num_experts=8, num_experts_per_tok=2),
)
OUTPUT_STD = 0.02


class FusedAttention(Attention):
    """Whole rows only: for training and evaluation."""

    def forward(self, x_BSD: Tensor, cos_SP: Tensor, sin_SP: Tensor, cache: KVCache | None = None) -> Tensor:
        assert cache is None, "the fused attention sees whole rows; decode with the reference's own"
        q_BSHK = apply_rope(self.wq(x_BSD).unflatten(-1, (self.n_heads, self.head_dim)), cos_SP, sin_SP)
        k_BSGK = apply_rope(self.wk(x_BSD).unflatten(-1, (self.n_kv_heads, self.head_dim)), cos_SP, sin_SP)
        v_BSGK = self.wv(x_BSD).unflatten(-1, (self.n_kv_heads, self.head_dim))
        q_BHSK, k_BGSK, v_BGSK = (x.transpose(1, 2) for x in (q_BSHK, k_BSGK, v_BSGK))
        heads_BHSK = scaled_dot_product_attention(q_BHSK, k_BGSK, v_BGSK, is_causal=True, enable_gqa=True)
        return self.wo(heads_BHSK.transpose(1, 2).flatten(2))


class FastModel(nn.Module):
    """A reference Transformer (`model`) with fused attention, called with the positions of the tokens."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model
        for n, layer in enumerate(model.layers):
            assert isinstance(layer, DecoderBlock)
            fused = FusedAttention(model.config, n)
            fused.load_state_dict(layer.attention.state_dict(), assign=True)
            layer.attention = fused
        self._tables = rope_tables(model.config, model.config.max_seq_len)

    @classmethod
    def untrained(cls, config: MixtralConfig, seed: int) -> "FastModel":
        """Random weights that keep the size of what they multiply; what is added to the residual starts smaller.

        Attention then tells tokens apart from the first step: with small weights throughout, copying from earlier text
        was learned later.
        """
        model = Transformer(config)
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.named_parameters():
            if weight.dim() == 2:
                nn.init.normal_(weight, std=_first_std(name, weight, config), generator=generator)
        return cls(model)

    def forward(self, tokens_BS: Tensor, positions_S: Tensor | None = None, observe: Observe = nobody) -> Tensor:
        """Logits [B, S, vocab]; positions 0, 1, 2 ... if none are given. Tells observe what each layer does."""
        if positions_S is None:
            positions_S = torch.arange(tokens_BS.shape[1])
        cos_SP, sin_SP = (table[positions_S] for table in self._tables)
        x_BSD = self.model.tok_embeddings(tokens_BS)
        for n, layer in enumerate(self.model.layers):
            x_BSD = layer(x_BSD, cos_SP, sin_SP, None, under(f"layers.{n}", observe))
        return self.model.output(self.model.norm(x_BSD))


def _first_std(name: str, weight: Tensor, config: MixtralConfig) -> float:
    if name == "tok_embeddings.weight":
        return 1.0
    if name == "output.weight":
        return OUTPUT_STD  # the first predictions are nearly uniform
    std = weight.shape[1] ** -0.5
    return std * (2 * config.n_layers) ** -0.5 if name.endswith(("wo.weight", "w2.weight")) else std


def round_to_bf16(model: nn.Module) -> None:
    """Rounds every weight to what the checkpoint will hold; the weights stay float32."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
