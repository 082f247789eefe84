import torch
from torch import Tensor, nn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.rope import apply_rope


class Attention(nn.Module):
    """Causal grouped-query attention: n_heads query heads share n_kv_heads key and value heads.

    Shapes: B batch, S new positions, T all positions so far, H query heads, G KV heads, R = H/G, K head_dim, D dim.
    """

    def __init__(self, config: MixtralConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_heads, self.n_kv_heads, self.head_dim = config.n_heads, config.n_kv_heads, config.head_dim
        self.wq = nn.Linear(config.dim, config.n_heads * config.head_dim, bias=False)
        self.wk = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wv = nn.Linear(config.dim, config.n_kv_heads * config.head_dim, bias=False)
        self.wo = nn.Linear(config.n_heads * config.head_dim, config.dim, bias=False)

    def forward(self, x_BSD: Tensor, cos_SP: Tensor, sin_SP: Tensor, cache: KVCache | None = None) -> Tensor:
        """cos and sin are those of the S new positions; a cache adds the earlier ones and takes up the new."""
        q_BSHK = apply_rope(self.wq(x_BSD).unflatten(-1, (self.n_heads, self.head_dim)), cos_SP, sin_SP)
        k_BTGK = apply_rope(self.wk(x_BSD).unflatten(-1, (self.n_kv_heads, self.head_dim)), cos_SP, sin_SP)
        v_BTGK = self.wv(x_BSD).unflatten(-1, (self.n_kv_heads, self.head_dim))
        if cache is not None:
            k_BTGK, v_BTGK = cache.extend(self.layer, k_BTGK, v_BTGK)
        S, T = q_BSHK.shape[1], k_BTGK.shape[1]

        q_BSGRK = q_BSHK.unflatten(2, (self.n_kv_heads, self.n_heads // self.n_kv_heads))
        scores_BGRST = torch.einsum("bsgrk,btgk->bgrst", q_BSGRK, k_BTGK) * self.head_dim**-0.5
        future_ST = torch.ones(S, T, dtype=torch.bool).triu(T - S + 1)  # query s stands at position T - S + s
        weights_BGRST = scores_BGRST.masked_fill(future_ST, float("-inf")).softmax(-1)
        heads_BSGRK = torch.einsum("bgrst,btgk->bsgrk", weights_BGRST, v_BTGK)
        return self.wo(heads_BSGRK.flatten(2))
