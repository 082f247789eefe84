from torch import Tensor, nn
from torch.nn.functional import silu

from models.mixtral8x7b.config import MixtralConfig


class Expert(nn.Module):
    """SwiGLU feed-forward (Shazeer, 2020): w2(silu(w1 x) * w3 x)."""

    def __init__(self, config: MixtralConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.dim, config.hidden_dim, bias=False)
        self.w2 = nn.Linear(config.hidden_dim, config.dim, bias=False)
        self.w3 = nn.Linear(config.dim, config.hidden_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(silu(self.w1(x)) * self.w3(x))
