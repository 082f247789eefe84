"""What the plugin asks of a row where the model draws: its numbers, as this project has them.

A token's random number is of the request's seed and of the token's position in the text. So it is the same in whatever
row the request stands, who is beside it, and when its answer was preempted and computed again.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol

from torch import Tensor

from models.mixtral8x7b.host_rows import Drawn, HostRow, RowParams
from models.mixtral8x7b.sampling import LOWEST_TEMPERATURE, MAX_TOP_K

SEED_BITS = 64  # of vLLM's, which may be negative
POSITION_BITS = 20  # of a token in its text
FRESH_SEED_BITS = 30


class Asked(Protocol):
    """The plugin's TTSamplingParams: of each a list with an entry for each row, or one value for all."""

    temperature: Any
    top_k: Any
    top_p: Any
    presence_penalty: Any
    frequency_penalty: Any
    repetition_penalty: Any
    seed: Any
    enable_log_probs: Any


def row_params(asked: Asked, row: int, vocab_size: int) -> RowParams:
    """Raises SamplingError for numbers out of range. A row without a seed gets another one at each call."""

    def value(name: str) -> Any:
        values = getattr(asked, name)
        return values[row] if isinstance(values, Sequence) else values

    temperature, top_k, seed = value("temperature"), value("top_k"), value("seed")
    return RowParams(
        temperature=temperature if temperature >= LOWEST_TEMPERATURE else 0.0,
        top_k=top_k if 0 < top_k < vocab_size else MAX_TOP_K,  # all: the chips' candidates, as the server has it
        top_p=value("top_p"),
        seed=secrets.randbits(FRESH_SEED_BITS) if seed is None else seed % (1 << SEED_BITS),
        presence_penalty=value("presence_penalty"),
        frequency_penalty=value("frequency_penalty"),
        repetition_penalty=value("repetition_penalty"),
        logprobs=0 if value("enable_log_probs") else None,
    )


def drawn_on_host(
    params: RowParams, logits_V: Tensor, position: int, prompt_ids: Sequence[int], answer_ids: Sequence[int]
) -> Drawn:
    """The token at a position of the text.

    The ids before it are told as soon as one row of the batch has a penalty. They count for rows with one only: others
    draw what they draw without them.
    """
    at = replace(params, seed=(params.seed << POSITION_BITS) + position)
    has_penalty = params.presence_penalty or params.frequency_penalty or params.repetition_penalty != 1
    history = (prompt_ids, answer_ids) if has_penalty else ((), ())
    return HostRow(at, history[0], len(logits_V)).next_token(logits_V, history[1])
