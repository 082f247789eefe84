import torch
from torch import Tensor

from models.mixtral8x7b.config import MoeConfig, Routing


def route(logits_NE: Tensor, moe: MoeConfig) -> tuple[Tensor, Tensor]:
    """Chooses the experts of each token: their weights, float [N, A], and indices, int64 [N, A], best first.

    N tokens, E experts, A experts per token. Of equal logits the lowest index comes first: a stable sort promises
    that, `torch.topk` does not.
    """
    chosen_NA = torch.sort(logits_NE, dim=-1, descending=True, stable=True).indices[:, : moe.num_experts_per_tok]
    if moe.routing is Routing.RENORMALIZE:
        return logits_NE.gather(-1, chosen_NA).softmax(-1), chosen_NA
    return logits_NE.softmax(-1).gather(-1, chosen_NA), chosen_NA
