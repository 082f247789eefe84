"""What a request's fields mean for the engine: how each of its answers is drawn and ends."""

import secrets
from collections.abc import Callable, Collection

from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.host_rows import Grammar, HostRow, RowParams, chip_params, needs_host
from models.mixtral8x7b.sampling import LOWEST_TEMPERATURE, MAX_TOP_K
from models.mixtral8x7b.server.answers import Ask
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.scores import Echo
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.tokenizer import Tokenizer

SEED_BITS = 62  # of a seed that nobody gave


def first_seed(fields: Fields) -> int:
    """That of a request's first answer; the others' follow it. -1 and none: another each time."""
    if fields.seed is None or fields.seed == -1:
        return secrets.randbits(SEED_BITS)
    return fields.seed % 2**64


def ask_of(
    service: Service,
    fields: Fields,
    index: int,
    ids: list[int],
    max_new_tokens: int,
    seed: int,
    logprobs: int | None,
    grammar: Callable[[], Grammar] | None,
    echo: Echo | None = None,
    goes_on: bool = False,
    shown: Collection[int] = (),
) -> Ask:
    """One answer. goes_on: it continues the prompt's text. shown: control tokens that are told by their names.
    max_new_tokens 0: a token is drawn and not shown.

    Raises what is wrong with the fields as a Mistake.
    """
    tokenizer = service.tokenizer
    if (fields.min_tokens or 0) > max_new_tokens:
        message = f"min_tokens is {fields.min_tokens} and at most {max_new_tokens} are asked for; lower it"
        raise ApiError(message, param="min_tokens")
    check_ids(service, "stop_token_ids", fields.stop_token_ids or [])
    ends = frozenset(() if fields.ignore_eos else tokenizer.stop_ids)
    stop_ids = ends | frozenset(fields.stop_token_ids or ())
    params = _row_params(fields, tokenizer, seed, logprobs, grammar)
    host_row = HostRow(params, ids, tokenizer.vocab_size, stop_ids) if needs_host(params) else None
    request = Request(
        ids,
        max(1, max_new_tokens),
        chip_params(params),
        stop_ids,
        salt=fields.cache_salt or "",
        host_row=host_row,
        take_prompt_logits=echo.take_logits if echo else None,
        experts=bool(fields.experts),
    )
    return Ask(
        index,
        request,
        fields.stops,
        after=ids if goes_on else [],
        ends=ends,
        shown=shown,
        shows_answer=max_new_tokens > 0,
        shows_stop=bool(fields.include_stop_str_in_output),
        echo=echo,
    )


def check_ids(service: Service, name: str, ids: list[int]) -> None:
    n = service.tokenizer.vocab_size
    wrong = next((token for token in ids if not 0 <= token < n), None)
    if wrong is not None:
        raise ApiError(f"{name} has token id {wrong}; the vocabulary is 0 to {n - 1}", param=name)


def room_for(service: Service, name: str, n_ids: int, wanted: int | None) -> int:
    """New tokens that an answer may have: as many as wanted, which must have room, or all that have."""
    room = service.max_context - n_ids
    if room < max(1, wanted or 0):
        asked = "" if wanted is None else f" and {wanted} new ones are asked for"
        raise ApiError(
            f"{name} has {n_ids} tokens{asked}; the context has {service.max_context}: shorten it, or ask for less",
            param=name,
            code="context_length_exceeded",
        )
    return room if wanted is None else wanted


def _row_params(
    fields: Fields, tokenizer: Tokenizer, seed: int, logprobs: int | None, grammar: Callable[[], Grammar] | None
) -> RowParams:
    temperature = 1.0 if fields.temperature is None else fields.temperature
    return RowParams(
        temperature=0.0 if temperature < LOWEST_TEMPERATURE else temperature,
        top_k=fields.top_k if fields.top_k is not None and fields.top_k > 0 else MAX_TOP_K,
        top_p=1.0 if fields.top_p is None else fields.top_p,
        seed=seed,
        min_p=fields.min_p or 0.0,
        logit_bias=_bias(fields),
        presence_penalty=fields.presence_penalty or 0.0,
        frequency_penalty=fields.frequency_penalty or 0.0,
        repetition_penalty=1.0 if fields.repetition_penalty is None else fields.repetition_penalty,
        bad_words=_bad_words(fields, tokenizer),
        allowed_token_ids=fields.allowed_token_ids,
        min_tokens=fields.min_tokens or 0,
        logprobs=logprobs,
        grammar=grammar,
    )


def _bias(fields: Fields) -> dict[int, float]:
    found = {}
    for name, value in (fields.logit_bias or {}).items():
        if not (name.isascii() and name.isdigit()):
            raise ApiError(f"logit_bias has the key {name[:40]!r}; expected token ids", param="logit_bias")
        found[int(name[:19])] = value
    return found


def _bad_words(fields: Fields, tokenizer: Tokenizer) -> list[list[int]]:
    """Each at the beginning of a word, and inside one."""
    words = [word.strip() or word for word in fields.bad_words or ()]
    return [ids for word in words for ids in (tokenizer.encode(word, bos=False), tokenizer.encode_inside(word)) if ids]
