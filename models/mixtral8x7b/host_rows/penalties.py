"""What a request changes in its row's logits: its bias, and penalties for tokens that were there before."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.mixtral8x7b.host_rows.params import RowParams


class Penalties:
    """Of one answer, as far as it has come. What is not asked for costs nothing."""

    def __init__(self, params: RowParams, prompt_ids: Sequence[int], vocab_size: int) -> None:
        self._frequency, self._presence = params.frequency_penalty, params.presence_penalty
        self._repetition = params.repetition_penalty
        self._bias_ids = torch.tensor(list(params.logit_bias), dtype=torch.int64)
        self._bias = torch.tensor(list(params.logit_bias.values()), dtype=torch.float32)
        self._counts: dict[int, int] = {}
        self._taken = torch.zeros(vocab_size) if self._frequency or self._presence else None  # from each logit
        self._divisors = torch.ones(vocab_size) if self._repetition != 1 else None
        if self._divisors is not None:
            self._divisors[torch.tensor(list(prompt_ids), dtype=torch.int64)] = self._repetition

    def take(self, token: int) -> None:
        """The answer's next token."""
        if self._taken is not None:
            count = self._counts[token] = self._counts.get(token, 0) + 1
            self._taken[token] = self._frequency * count + self._presence
        if self._divisors is not None:
            self._divisors[token] = self._repetition

    def apply(self, logits_V: Tensor) -> None:
        """In place."""
        if len(self._bias):
            logits_V[self._bias_ids] += self._bias
        if self._divisors is not None:
            negative = logits_V.clamp(max=0).mul_(self._divisors)
            logits_V.clamp_(min=0).div_(self._divisors).add_(negative)
        if self._taken is not None:
            logits_V.sub_(self._taken)
