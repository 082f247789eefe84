"""The whole model, fed with known texts: its logits at every position, and how far they agree with others."""

from dataclasses import dataclass

import torch
import ttnn

from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.model import Mixtral
from tests.thresholds import MARGIN
from tests.tiny_texts import Texts
from tests.tt.cases import pcc


def teacher_forced(model: Mixtral, texts: Texts) -> torch.Tensor:
    """Logits of all rows at every position that counts, [32, P, vocab]: what comes before is prefilled."""
    longest = max(len(row) for row in texts.rows)
    per_row = blocks_for(longest)
    blocks = [list(range(row * per_row, (row + 1) * per_row)) for row in range(len(texts.rows))]
    logits = torch.zeros(len(texts.rows), longest, model.config.vocab_size)
    prompts = [
        Prompt(row, ids[:first], blocks[row])
        for row, (ids, first) in enumerate(zip(texts.rows, texts.first, strict=True))
        if first
    ]
    for one in model.passes(prompts):
        ttnn.deallocate(model.prefill_pass(one))
    model.state.set_blocks(blocks)
    for position in range(min(texts.first), longest - 1):
        active = [first <= position < len(row) - 1 for row, first in zip(texts.rows, texts.first, strict=True)]
        tokens = [row[position] if on else 0 for row, on in zip(texts.rows, active, strict=True)]
        model.state.set_rows(tokens, [position if on else NO_USER for on in active])
        logits[active, position] = model.read_logits(model.decode_logits())[active]
    return logits


def router_margins(reference: Transformer, ids_RP: torch.Tensor) -> torch.Tensor:
    """By how much the last expert that is chosen leads the first that is not, the least of all layers, [R, P].

    Where it is near zero, any rounding chooses another expert, and the logits are others.
    """
    seen: dict[str, torch.Tensor] = {}
    reference(ids_RP, observe=seen.__setitem__)
    chosen = reference.config.moe.num_experts_per_tok
    margins = []
    for n, layer in enumerate(reference.layers):
        scores = layer.feed_forward.gate(seen[f"layers.{n}.ffn_norm"]).sort(-1, descending=True).values
        margins.append(scores[..., chosen - 1] - scores[..., chosen])
    return torch.stack(margins).amin(0)


@dataclass(frozen=True)
class Agreement:
    """Of logits with others: correlation of all of them, how often the first choice is the same, and how far the
    distributions are apart."""

    positions: int
    pcc: float
    top_1: float
    top_1_decided: float  # where the others' best leads by MARGIN
    decided: float  # of the positions
    top_5: float  # the others' first is among the five first
    kl: float  # nats: the mean of Kullback and Leibler's divergence, from the others

    def __str__(self) -> str:
        return (
            f"{self.positions} positions, PCC {self.pcc:.5f}, top-1 {self.top_1_decided:.4f} where decided "
            f"({self.decided:.0%}), {self.top_1:.4f} everywhere, top-5 {self.top_5:.4f}, KL {self.kl:.5f}"
        )


def agreement(ours: torch.Tensor, theirs: torch.Tensor) -> Agreement:
    """Logits [N, vocab] with `theirs`."""
    best_two = theirs.topk(2).values
    decided = best_two[:, 0] - best_two[:, 1] > MARGIN
    first = theirs.argmax(-1)
    same = ours.argmax(-1) == first
    return Agreement(
        positions=len(first),
        pcc=pcc(ours, theirs),
        top_1=same.float().mean().item(),
        top_1_decided=same[decided].float().mean().item(),
        decided=decided.float().mean().item(),
        top_5=(ours.topk(5).indices == first[:, None]).any(-1).float().mean().item(),
        kl=_divergence(ours, theirs),
    )


def _divergence(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    log_p, log_q = theirs.double().log_softmax(-1), ours.double().log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1).mean().item()


def perplexity(logits: torch.Tensor, next_ids: torch.Tensor) -> float:
    """Of logits [N, vocab] with the ids that came next [N]."""
    return torch.nn.functional.cross_entropy(logits.double(), next_ids).exp().item()
