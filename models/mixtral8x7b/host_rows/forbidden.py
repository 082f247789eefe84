"""Which tokens may not come next."""

import math
from collections import defaultdict
from collections.abc import Collection, Sequence

import numpy as np
import torch
from torch import Tensor

from models.mixtral8x7b.host_rows.params import Grammar, RowParams


class Forbidden:
    """Of one answer, as far as it has come. An answer that can only end ends, whatever min_tokens says."""

    def __init__(
        self, params: RowParams, prompt_ids: Sequence[int], vocab_size: int, stop_ids: Collection[int]
    ) -> None:
        self._grammar: Grammar | None = params.grammar() if params.grammar else None
        self._never = _never(params, vocab_size)
        self._endings: dict[int, list[tuple[tuple[int, ...], int]]] = defaultdict(list)
        for *before, last in (word for word in params.bad_words if len(word) > 1):
            self._endings[before[-1]].append((tuple(before), last))
        longest = max(map(len, params.bad_words), default=1) - 1
        self._ids = list(prompt_ids[-longest:]) if longest else []
        self._stop_ids = torch.tensor([i for i in stop_ids if i < vocab_size], dtype=torch.int64)
        self._must_come = params.min_tokens

    def take(self, token: int) -> None:
        """The answer's next token."""
        self._must_come -= 1
        if self._endings:
            self._ids.append(token)
        if self._grammar is not None:
            self._grammar.take(token)

    def apply(self, logits_V: Tensor) -> None:
        """In place: -inf where a token may not come."""
        if self._never is not None:
            logits_V.add_(self._never)
        if barred := self._ends_of_bad_words():
            logits_V[barred] = -math.inf
        if self._grammar is not None:
            logits_V.masked_fill_(~_bits(self._grammar.mask(), len(logits_V)), -math.inf)
        if self._must_come > 0 and len(self._stop_ids):
            stops = logits_V[self._stop_ids]
            logits_V[self._stop_ids] = -math.inf
            if logits_V.max() == -math.inf:
                logits_V[self._stop_ids] = stops

    def _ends_of_bad_words(self) -> list[int]:
        found = self._endings.get(self._ids[-1], ()) if self._ids else ()
        return [end for before, end in found if tuple(self._ids[-len(before) :]) == before]


def _never(params: RowParams, vocab_size: int) -> Tensor | None:
    """float32 [V]: -inf for tokens that are out from the beginning to the end, 0 for others."""
    alone = [word[0] for word in params.bad_words if len(word) == 1]
    if params.allowed_token_ids is None and not alone:
        return None
    never = torch.zeros(vocab_size)
    if params.allowed_token_ids is not None:
        never.fill_(-math.inf)[list(params.allowed_token_ids)] = 0.0
    never[alone] = -math.inf
    return never


def _bits(words: Tensor, n: int) -> Tensor:
    """int32 -> bool [n], the lowest bit first."""
    bits = np.unpackbits(words.numpy().view(np.uint8), count=n, bitorder="little")
    return torch.from_numpy(bits).bool()
