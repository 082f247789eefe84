import torch
from torch import Tensor, nn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.expert import Expert
from models.mixtral8x7b.reference.observe import Observe, nobody
from models.mixtral8x7b.reference.router import route


class MoE(nn.Module):
    """Each token goes to its best experts; their outputs are added, weighted by the router.

    Shapes: N tokens (all leading dimensions together), D dim, E experts, A experts per token.
    """

    def __init__(self, config: MixtralConfig) -> None:
        super().__init__()
        self.config = config.moe
        self.gate = nn.Linear(config.dim, config.moe.num_experts, bias=False)
        self.experts = nn.ModuleList(Expert(config) for _ in range(config.moe.num_experts))

    def forward(self, x: Tensor, observe: Observe = nobody) -> Tensor:
        """Tells observe "router_logits" [N, E]."""
        x_ND = x.flatten(0, -2)
        logits_NE = self.gate(x_ND)
        observe("router_logits", logits_NE)
        weights_NA, chosen_NA = route(logits_NE, self.config)
        out_ND = torch.zeros_like(x_ND)
        for e, expert in enumerate(self.experts):
            token, place = torch.where(chosen_NA == e)
            out_ND = out_ND.index_add(0, token, weights_NA[token, place, None] * expert(x_ND[token]))
        return out_ND.view_as(x)
