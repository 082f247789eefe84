"""How likely the model held tokens, before anything was changed or cut."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Scored(NamedTuple):
    logprob: float  # of the token, natural logarithm
    top: list[tuple[int, float]]  # the most likely tokens, the lowest id first among equals


def score(logits_SV: Tensor, tokens: Sequence[int], n_top: int) -> list[Scored]:
    """What the logits of each position said of the token that came next.

    For a prompt: its logits, float32 [S, V], without the last row, and its ids without the first, which nothing told.
    """
    logprobs_SV = logits_SV.log_softmax(-1)
    return [
        Scored(float(logprobs_V[token]), _top(logprobs_V, n_top))
        for logprobs_V, token in zip(logprobs_SV, tokens, strict=True)
    ]


def _top(logprobs_V: Tensor, n: int) -> list[tuple[int, float]]:
    n = min(n, len(logprobs_V))
    if n == 0:
        return []
    values = torch.topk(logprobs_V, n, sorted=False).values  # among equals it has no order
    ids = np.flatnonzero(logprobs_V.numpy() >= float(values.min()))
    found = zip(ids.tolist(), logprobs_V[ids].tolist(), strict=True)
    return sorted(found, key=lambda pair: -pair[1])[:n]  # stable: ids ascend
