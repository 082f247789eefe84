"""One row that the host draws, token after token."""

import math
from collections.abc import Collection, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from models.mixtral8x7b.host_rows.cuts import weights
from models.mixtral8x7b.host_rows.forbidden import Forbidden
from models.mixtral8x7b.host_rows.logprobs import score
from models.mixtral8x7b.host_rows.params import RowParams
from models.mixtral8x7b.host_rows.penalties import Penalties
from models.mixtral8x7b.host_rows.random_numbers import random_number
from models.mixtral8x7b.mistake import Mistake


class NoTokenError(Mistake):
    """A row has no token to go on with; the message says why. Only this row's answer ends."""


class Drawn(NamedTuple):
    token: int
    logprob: float | None  # of the token; None where logprobs are not asked for
    top: list[tuple[int, float]]  # (id, logprob), the most likely first; the token need not be among them


class HostRow:
    """Made once for an answer; its state follows the answer's tokens.

    vocab_size    tokens that may be drawn, which is the length of the logits
    stop_ids      what min_tokens keeps away
    """

    def __init__(
        self, params: RowParams, prompt_ids: Sequence[int], vocab_size: int, stop_ids: Collection[int] = ()
    ) -> None:
        params.check(vocab_size)
        self._params = params
        self._penalties = Penalties(params, prompt_ids, vocab_size)
        self._forbidden = Forbidden(params, prompt_ids, vocab_size, stop_ids)
        self._n_taken = 0

    def next_token(self, logits_V: Tensor, generated: Sequence[int]) -> Drawn:
        """Of float32 logits, which stay as they are, and the answer so far: that of the last call and what came since.

        Called again with the same, it gives the same. Raises NoTokenError.
        """
        for token in generated[self._n_taken :]:
            self._penalties.take(token)
            self._forbidden.take(token)
        self._n_taken = len(generated)
        logprobs = self._params.logprobs
        token = self._draw(logits_V.clone(), len(generated))
        if logprobs is None:
            return Drawn(token, None, [])
        (scored,) = score(logits_V[None], [token], logprobs)
        return Drawn(token, scored.logprob, scored.top)

    def _draw(self, logits_V: Tensor, index: int) -> int:
        """Overwrites the logits."""
        _check_numbers(float(logits_V.max()), index)
        self._penalties.apply(logits_V)
        self._forbidden.apply(logits_V)
        if logits_V.max() == -math.inf:
            raise NoTokenError(
                f"nothing may come as token {index + 1} of the answer: allowed_token_ids, bad_words and the grammar "
                "leave no token; expected at least one"
            )
        if self._params.temperature == 0:
            return int(logits_V.numpy().argmax())  # the first of equals
        sums = weights(logits_V, self._params).cumsum(0, dtype=torch.float64)
        drawn = sums[-1] * random_number(self._params.seed, index)
        return int(torch.searchsorted(sums, drawn, right=True))


def _check_numbers(best: float, index: int) -> None:
    if not math.isfinite(best):
        raise NoTokenError(
            f"the model gave no numbers for token {index + 1} of the answer (its best logit is {best}); "
            "expected finite logits: ask again"
        )
