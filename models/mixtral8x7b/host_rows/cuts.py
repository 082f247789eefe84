"""Which of the tokens that may come are drawn from.

Tokens are put into buckets by size, so that no vocabulary is sorted: only the bucket in which a cut falls is.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import threshold

from models.mixtral8x7b.host_rows.params import RowParams

_REST = 18  # bits of a float32 that do not tell its bucket: weights of one differ by at most 3 %
_N_BUCKETS = (0x3F800000 >> _REST) + 1  # of weights up to 1


def weights(logits_V: Tensor, params: RowParams) -> Tensor:
    """What a token is drawn by, float32 [V]: its probability but for a factor.

    Temperature, which is not 0, then top_k, min_p and top_p. top_k keeps the lowest ids among equals; top_p tokens
    whose more likely ones together have less than it, of what is left.
    """
    weights_V = (logits_V / params.temperature).softmax(0)
    if 0 < params.top_k < len(weights_V):
        weights_V = _most_likely(weights_V, params.top_k)
    if params.min_p > 0:
        weights_V = threshold(weights_V, _just_below(params.min_p * float(weights_V.max())), 0.0)
    if params.top_p < 1:
        weights_V = _most_likely(weights_V, params.top_p * float(weights_V.sum()), by_weight=True)
    return weights_V


def _most_likely(weights_V: Tensor, limit: float, by_weight: bool = False) -> Tensor:
    """0 for all tokens but those whose more likely ones are fewer than a limit, or, by weight, weigh less together."""
    buckets_V = weights_V.view(torch.int32) >> _REST  # floats that are not negative have the order of their bits
    totals = torch.bincount(buckets_V, weights_V.double() if by_weight else None, _N_BUCKETS).numpy()[::-1]
    sums = totals.cumsum()
    place = min(int(sums.searchsorted(limit)), _N_BUCKETS - 1)
    above, bucket = sums[place] - totals[place], _N_BUCKETS - 1 - place
    if bucket == 0:  # below 2^-131: weights of nothing, of which there are many where few tokens may come
        return weights_V
    weights, ids = weights_V.numpy(), np.flatnonzero(buckets_V.numpy() == bucket)
    ids = ids[np.argsort(-weights[ids], kind="stable")]
    sizes = weights[ids].astype(np.float64) if by_weight else np.ones(len(ids))
    kept_V = threshold(weights_V, _just_below(float(np.uint32(bucket << _REST).view(np.float32))), 0.0)
    kept_V.numpy()[ids[above + sizes.cumsum() - sizes >= limit]] = 0.0
    return kept_V


def _just_below(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(-1)))
