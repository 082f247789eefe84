"""What may be asked for a row, and whether the chips can do it alone."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from models.mixtral8x7b.arguments import RequestError, described, token_ids
from models.mixtral8x7b.sampling import (
    GREEDY,
    MAX_TOP_K,
    SamplingError,
    SamplingParams,
    real_parameter,
    whole_parameter,
)

MOST_LOGPROBS = 20
MOST_BIAS = 100
MOST_PENALTY = 2
MOST_REPETITION = 1000  # and the least is 1 / 1000: logits stay numbers


class Grammar(Protocol):
    """What may come next in one answer."""

    def mask(self) -> Tensor:
        """int32 [ceil(vocabulary / 32)]: bit i % 32 of word i // 32 is set where token i may come next."""

    def take(self, token: int) -> None:
        """The answer's next token: each is told once, in order, before the mask behind it is asked for."""


@dataclass(frozen=True)
class RowParams:
    """Everything that can be asked for a row; what is left at its default asks for nothing.

    temperature, top_p, seed    as SamplingParams has them
    top_k                       as SamplingParams has it, but of any size; 0 takes all tokens
    min_p                       0 to 1: tokens less likely than this share of the most likely one are out
    logit_bias                  token id -> -100 to 100, added to its logit
    presence_penalty            -2 to 2, taken from the logit of each token that the answer holds
    frequency_penalty           -2 to 2, the same for each time that it holds it
    repetition_penalty          0.001 to 1000: divides logits of tokens in prompt or answer, negative ones times it
    bad_words                   sequences of ids: the last of each never follows the others, prompt included
    allowed_token_ids           only these are drawn; None: all
    min_tokens                  the answer does not stop before it has so many
    logprobs                    0 to 20: tokens to tell of beside the chosen one; None: nothing is told
    grammar                     makes an answer's grammar

    Numbers may be numpy's. Raises SamplingError for anything else, and for a number out of range.
    """

    temperature: float = 0.0
    top_k: int = MAX_TOP_K
    top_p: float = 1.0
    seed: int = 0
    min_p: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    bad_words: Sequence[Sequence[int]] = ()
    allowed_token_ids: Collection[int] | None = None
    min_tokens: int = 0
    logprobs: int | None = None
    grammar: Callable[[], Grammar] | None = None

    def __post_init__(self) -> None:
        top_k = whole_parameter("top_k", self.top_k)
        if top_k < 0:
            raise SamplingError(f"top_k is {top_k}; expected 0 (all tokens) or more")
        chips = SamplingParams(self.temperature, min(top_k, MAX_TOP_K) or MAX_TOP_K, self.top_p, self.seed)
        min_tokens = whole_parameter("min_tokens", self.min_tokens)
        if min_tokens < 0:
            raise SamplingError(f"min_tokens is {min_tokens}; expected a whole number of at least 0")
        repetition = real_parameter("repetition_penalty", self.repetition_penalty)
        if not 1 / MOST_REPETITION <= repetition <= MOST_REPETITION:
            raise SamplingError(
                f"repetition_penalty is {repetition}; expected {1 / MOST_REPETITION} to {MOST_REPETITION} (1: none)"
            )
        if self.grammar is not None and not callable(self.grammar):
            raise SamplingError(f"grammar {described(self.grammar)}; expected a function that makes a grammar")
        read = {
            "temperature": chips.temperature,
            "top_k": top_k,
            "top_p": chips.top_p,
            "seed": chips.seed,
            "min_p": _between("min_p", self.min_p, 0, 1),
            "logit_bias": _bias(self.logit_bias),
            "presence_penalty": _between("presence_penalty", self.presence_penalty, -MOST_PENALTY, MOST_PENALTY),
            "frequency_penalty": _between("frequency_penalty", self.frequency_penalty, -MOST_PENALTY, MOST_PENALTY),
            "repetition_penalty": repetition,
            "bad_words": _words(self.bad_words),
            "allowed_token_ids": _allowed(self.allowed_token_ids),
            "min_tokens": min_tokens,
            "logprobs": _logprobs(self.logprobs),
        }
        for name, value in read.items():
            object.__setattr__(self, name, value)  # frozen for others

    def check(self, vocab_size: int) -> None:
        """Raises SamplingError for a token id that the vocabulary has not."""
        named = {
            "logit_bias": self.logit_bias,
            "allowed_token_ids": self.allowed_token_ids or (),
            "bad_words": [token for word in self.bad_words for token in word],
        }
        for name, tokens in named.items():
            for token in tokens:
                if not 0 <= token < vocab_size:
                    raise SamplingError(f"{name} has token id {token}; the vocabulary is 0 to {vocab_size - 1}")


def needs_host(params: SamplingParams | RowParams) -> bool:
    """Whether the row's logits must be read to the host; if not, the chips do all that is asked."""
    if isinstance(params, SamplingParams):
        return False
    is_drawn = params.temperature != 0
    asked = (
        is_drawn and not 1 <= params.top_k <= MAX_TOP_K,
        is_drawn and params.min_p > 0,
        params.logit_bias,
        params.presence_penalty,
        params.frequency_penalty,
        params.repetition_penalty != 1,
        params.bad_words,
        params.allowed_token_ids is not None,
        params.min_tokens,
        params.logprobs is not None,
        params.grammar is not None,
    )
    return any(asked)


def chip_params(params: SamplingParams | RowParams) -> SamplingParams:
    """What the chips are given for a row; for one that the host draws, what costs them least."""
    if isinstance(params, SamplingParams):
        return params
    if needs_host(params) or params.temperature == 0:
        return GREEDY
    return SamplingParams(params.temperature, params.top_k, params.top_p, params.seed)


def _between(name: str, value: object, low: float, high: float) -> float:
    number = real_parameter(name, value)
    if not low <= number <= high:
        raise SamplingError(f"{name} is {number}; expected {low} to {high}")
    return number


def _bias(given: Any) -> dict[int, float]:
    if not isinstance(given, Mapping):
        raise SamplingError(f"logit_bias {described(given)}; expected token ids and a number for each")
    ids = _ids("logit_bias", list(given))
    values = [
        _between(f"the bias of token {i}", value, -MOST_BIAS, MOST_BIAS)
        for i, value in zip(ids, given.values(), strict=True)
    ]
    return dict(zip(ids, values, strict=True))


def _words(given: Any) -> tuple[tuple[int, ...], ...]:
    if isinstance(given, (str, bytes, Mapping)) or not isinstance(given, Iterable):
        raise SamplingError(f"bad_words {described(given)}; expected a list of words, each a list of token ids")
    words = tuple(tuple(_ids(f"bad word {number}", word)) for number, word in enumerate(given, start=1))
    if () in words:
        raise SamplingError(f"bad word {words.index(()) + 1} is empty; expected at least one token id")
    return words


def _allowed(given: Any) -> tuple[int, ...] | None:
    if given is None:
        return None
    ids = _ids("allowed_token_ids", list(given) if isinstance(given, (set, frozenset)) else given)
    if not ids:
        raise SamplingError("allowed_token_ids is empty; expected at least one token id, or leave it out")
    return tuple(sorted(set(ids)))


def _logprobs(given: object) -> int | None:
    if given is None:
        return None
    number = whole_parameter("logprobs", given)
    if not 0 <= number <= MOST_LOGPROBS:
        raise SamplingError(f"logprobs is {number}; expected 0 to {MOST_LOGPROBS}")
    return number


def _ids(name: str, given: Any) -> list[int]:
    try:
        return token_ids(name, given)
    except RequestError as error:
        raise SamplingError(str(error)) from error
