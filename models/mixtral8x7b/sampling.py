"""Sampling: what a user may ask for, and the distribution that it means.

Plain torch. The sampler on the chips is tested against it.
"""

import hashlib
import math
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from models.mixtral8x7b.arguments import described, whole_number
from models.mixtral8x7b.mistake import Mistake

MAX_TOP_K = 32  # candidates that each chip offers
LOWEST_TEMPERATURE = 0.01  # below it the best token is certain in bf16, which is what 0 says
LOWEST_TOP_P = 1e-30  # a number in bf16 and float32; whatever is less keeps the best token alone as well


class SamplingError(Mistake, ValueError):
    """A sampling parameter out of range or of another kind; the message names it, its value and what was expected."""


@dataclass(frozen=True)
class SamplingParams:
    """temperature 0 is greedy. top_k and top_p both apply, top_k first. A seeded row repeats on the same target.

    Numbers may be numpy's. Raises SamplingError for anything else, and for a number out of range.
    """

    temperature: float = 0.0
    top_k: int = MAX_TOP_K
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("temperature", "top_p"):
            object.__setattr__(self, name, real_parameter(name, getattr(self, name)))  # frozen for others
        for name in ("top_k", "seed"):
            object.__setattr__(self, name, whole_parameter(name, getattr(self, name)))
        if self.temperature != 0 and not LOWEST_TEMPERATURE <= self.temperature < float("inf"):
            raise SamplingError(
                f"temperature is {self.temperature}; expected 0 (greedy) or a number of at least {LOWEST_TEMPERATURE}"
            )
        if not 1 <= self.top_k <= MAX_TOP_K:
            raise SamplingError(
                f"top_k is {self.top_k}; expected 1 to {MAX_TOP_K}: the chips draw from the {MAX_TOP_K} best of each"
            )
        if not 0 < self.top_p <= 1:
            raise SamplingError(f"top_p is {self.top_p}; expected a number above 0 and at most 1")
        object.__setattr__(self, "top_p", max(self.top_p, LOWEST_TOP_P))
        if self.seed < 0:
            raise SamplingError(f"seed is {self.seed}; expected a whole number of at least 0")


def real_parameter(name: str, value: object) -> float:
    """The value as a float, for whole numbers beyond all floats infinity; raises SamplingError if it is no number."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise SamplingError(f"{name} {described(value)}; expected a number")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def whole_parameter(name: str, value: object) -> int:
    """The value as an int; raises SamplingError if it is no whole number."""
    number = whole_number(value)
    if number is None:
        raise SamplingError(f"{name} {described(value)}; expected a whole number")
    return number


GREEDY = SamplingParams()
SEED_BITS = 30  # of the seeds that the chips get, so that a seed plus the index of a token is no more than 2^31 - 1


def mixed_seed(seed: int) -> int:
    """The number of a request's seed, a whole number >= 0 of any size: 0 to 2^30 - 1; every bit of the seed counts.

    Token i is drawn with the random number of mixed_seed(seed) + i, so the answers of two seeds share random numbers,
    at other tokens, with a probability of 2^-30 for each pair of their tokens.
    """
    digest = hashlib.sha256(f"{seed:x}".encode()).digest()
    return int.from_bytes(digest, "big") >> (8 * len(digest) - SEED_BITS)


def probabilities(logits_BV: Tensor, params: SamplingParams) -> Tensor:
    """The distribution that a token is drawn from, float32 [B, V].

    Of the top_k most likely tokens (lowest id first among equals) those are kept whose more likely ones together have
    less than top_p; what is kept is scaled to 1. (Where they have exactly top_p, the chips keep one more.)
    """
    order = torch.sort(logits_BV.float(), dim=-1, descending=True, stable=True)
    if params.temperature == 0:
        return torch.zeros_like(order.values).scatter(-1, order.indices[:, :1], 1.0)
    best = order.values[:, : params.top_k] / params.temperature
    shares = best.softmax(-1)
    before = shares.cumsum(-1) - shares
    kept = shares.where(before < params.top_p, 0.0)
    kept = kept / kept.sum(-1, keepdim=True)
    return torch.zeros_like(order.values).scatter(-1, order.indices[:, : params.top_k], kept)


def sample(logits_BV: Tensor, params: SamplingParams, generator: torch.Generator) -> Tensor:
    """One token id per row, int64 [B]."""
    return torch.multinomial(probabilities(logits_BV, params), 1, generator=generator)[:, 0]
