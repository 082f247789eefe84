"""What a row's logits become, written as loops over plain numbers."""

import math
from collections.abc import Collection, Sequence

from models.mixtral8x7b.host_rows import RowParams


def changed(
    logits: Sequence[float],
    params: RowParams,
    prompt: Sequence[int],
    answer: Sequence[int],
    stop_ids: Collection[int] = (),
    may_come: Collection[int] | None = None,
) -> list[float]:
    """Bias, repetition, frequency and presence, then what is forbidden. may_come: what a grammar says."""
    result = []
    for token, value in enumerate(logits):
        value += params.logit_bias.get(token, 0.0)
        if token in prompt or token in answer:
            value = value * params.repetition_penalty if value < 0 else value / params.repetition_penalty
        value -= params.frequency_penalty * answer.count(token)
        value -= params.presence_penalty * (token in answer)
        if params.allowed_token_ids is not None and token not in params.allowed_token_ids:
            value = -math.inf
        text = [*prompt, *answer, token]
        if any(text[-len(word) :] == list(word) for word in params.bad_words):
            value = -math.inf
        if may_come is not None and token not in may_come:
            value = -math.inf
        result.append(value)
    if len(answer) < params.min_tokens:
        others = [value for token, value in enumerate(result) if token not in stop_ids]
        if others and max(others) > -math.inf:
            result = [-math.inf if token in stop_ids else value for token, value in enumerate(result)]
    return result
