"""What a caller asks of the engine: read, and checked before it waits."""

import math
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from numbers import Real

from models.mixtral8x7b.arguments import RequestError, described, require_whole, token_ids
from models.mixtral8x7b.engine.model import HostRow, TakeLogits
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.sampling import GREEDY, SamplingParams


@dataclass(frozen=True)
class Request:
    """One prompt and how its answer is drawn and ends.

    The answer ends with one of stop_ids, which is part of it, or with max_new_tokens; deadline_s seconds after it was
    submitted it is cut off. Requests of another salt share no part of the prefix cache with this one. A host_row draws
    the tokens in place of the chips. Passes compute the first `prefill` tokens of the prompt (None: all); the rest is
    fed to decode, one in a step. Raises RequestError for what is of another kind.

    With `experts` each token comes with those that the step which drew it sent its row to; one that a pass drew, as the
    first is, with none.

    take_prompt_logits is called with those of all the prompt's positions that passes compute, some at a time; once more
    where the request was preempted. As all of them must be computed, the prefix cache is not read.
    """

    ids: Sequence[int]
    max_new_tokens: int
    sampling: SamplingParams = GREEDY
    stop_ids: Collection[int] = ()
    deadline_s: float | None = None
    salt: str = ""
    host_row: HostRow | None = None
    prefill: int | None = None
    take_prompt_logits: TakeLogits | None = None
    experts: bool = False

    def __post_init__(self) -> None:
        stops = self.stop_ids
        values = {
            "ids": token_ids("the prompt", self.ids),
            "max_new_tokens": require_whole("max_new_tokens", self.max_new_tokens),
            "stop_ids": frozenset(token_ids("stop_ids", list(stops) if isinstance(stops, Set) else stops)),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)  # frozen for others
        if not self.ids:
            raise RequestError("the prompt is empty; expected at least one token (BOS)")
        if self.max_new_tokens < 1:
            raise RequestError(f"max_new_tokens is {self.max_new_tokens}; expected at least 1")
        if not isinstance(self.sampling, SamplingParams):
            raise RequestError(f"sampling {described(self.sampling)}; expected SamplingParams")
        if not isinstance(self.salt, str):
            raise RequestError(f"salt {described(self.salt)}; expected text")
        if self.prefill is not None and require_whole("prefill", self.prefill) < 0:
            raise RequestError(f"prefill is {self.prefill}; expected 0 (decode only) or more")
        if self.deadline_s is not None and not _is_time(self.deadline_s):
            raise RequestError(f"deadline_s {described(self.deadline_s)}; expected a number of seconds above 0")

    @property
    def most_positions(self) -> int:
        """Of the KV cache: the last token of the answer is not fed."""
        return len(self.ids) + self.max_new_tokens - 1

    def check(self, vocab_size: int, max_context: int, n_blocks: int, notes_experts: bool = False) -> None:
        """Raises RequestError for what a model of these numbers can never serve."""
        if self.experts and not notes_experts:
            raise RequestError("experts are asked for, which this model does not note; ask without them")
        n_ids, n_new = len(self.ids), self.max_new_tokens
        for name, ids in (("the prompt", self.ids), ("stop_ids", self.stop_ids)):
            if ids and not 0 <= min(ids) <= max(ids) < vocab_size:
                wrong = next(token for token in ids if not 0 <= token < vocab_size)
                raise RequestError(f"{name} has token id {wrong}; the vocabulary is 0 to {vocab_size - 1}")
        if n_ids + n_new > max_context:
            raise RequestError(
                f"the prompt has {n_ids} tokens; with {n_new} new ones it exceeds the context of {max_context}: "
                + (f"shorten it to {max_context - n_new}" if n_new < max_context else "ask for fewer new tokens")
            )
        if blocks_for(self.most_positions) > n_blocks:
            raise RequestError(
                f"{n_ids} prompt tokens and {n_new} new ones need {blocks_for(self.most_positions)} KV blocks of "
                f"{KV_BLOCK}; the whole cache has {n_blocks}: shorten the prompt or ask for fewer new tokens"
            )


def _is_time(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0 < float(value) < math.inf
