"""/v1/completions: text that goes on."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any, ClassVar

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import Field

from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.host_rows.params import MOST_LOGPROBS
from models.mixtral8x7b.server.answers import Ask, Collected, Ending, collected, parts_of
from models.mixtral8x7b.server.errors import UNAVAILABLE, ApiError
from models.mixtral8x7b.server.experts import experts_field
from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.grammar import Matcher
from models.mixtral8x7b.server.live import event_stream, one_answer
from models.mixtral8x7b.server.logprobs import Logprobs
from models.mixtral8x7b.server.sampling import ask_of, check_ids, first_seed, room_for
from models.mixtral8x7b.server.scores import Echo, Told
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import Text
from models.mixtral8x7b.server.usage import Usage

USUAL_MAX_TOKENS = 16


class CompletionFields(Fields):
    prompt: Text | list[Text] | list[int] | list[list[int]]
    max_tokens: Annotated[int | None, Field(ge=0)] = None
    logprobs: Annotated[int | None, Field(ge=0, le=MOST_LOGPROBS)] = None
    echo: bool | None = None
    best_of: Annotated[int | None, Field(ge=1)] = None
    add_special_tokens: bool | None = None

    NOT_OFFERED: ClassVar = Fields.NOT_OFFERED | {"suffix": ("",), "prompt_embeds": ()}

    def check(self, service: Service) -> None:
        super().check(service)
        if self.best_of is not None:
            if self.best_of < self.n_choices:
                message = f"best_of is {self.best_of} and n {self.n_choices}; expected best_of to be at least n"
                raise ApiError(message, param="best_of")
            if self.stream and self.best_of > 1:
                raise ApiError("best_of cannot be streamed; leave one of the two out", param="best_of")

    @property
    def n_drawn(self) -> int:
        """Answers that are computed for each prompt."""
        return self.best_of or self.n_choices


def completion_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/completions", responses=UNAVAILABLE)
    async def completions(fields: CompletionFields) -> Response:
        fields.check(service)
        prompts = await asyncio.to_thread(_prompts, service, fields)
        grammar = await asyncio.to_thread(fields.grammar, service)
        completion = _Completion(service, fields, prompts, grammar)
        return event_stream(completion.chunks()) if fields.stream else one_answer(completion.whole)

    return router


def _prompts(service: Service, fields: CompletionFields) -> list[tuple[list[int], str | None]]:
    """The ids of each, and its text where it was given as one."""
    prompt, tokenizer = fields.prompt, service.tokenizer
    several: Sequence[Any] = [prompt] if isinstance(prompt, str) or not prompt or isinstance(prompt[0], int) else prompt
    with_bos = fields.add_special_tokens is not False
    found: list[tuple[list[int], str | None]] = [
        (tokenizer.encode(one, with_bos), one) if isinstance(one, str) else (one, None) for one in several
    ]
    for ids, _ in found:
        if not ids:
            raise ApiError("prompt is empty; expected a text, or at least one token id", param="prompt")
        check_ids(service, "prompt", ids)
    return found


class _Completion:
    """One request's choices, in the order prompt * n + k."""

    def __init__(
        self,
        service: Service,
        fields: CompletionFields,
        prompts: Sequence[tuple[list[int], str | None]],
        grammar: Callable[[], Matcher] | None,
    ) -> None:
        self._service, self._fields = service, fields
        n, seed = fields.n_drawn, first_seed(fields)
        max_tokens = USUAL_MAX_TOKENS if fields.max_tokens is None else fields.max_tokens
        most = service.engine.most_waiting + ROWS
        if len(prompts) * n > most:
            message = f"{len(prompts) * n} answers are asked for at a time; at most {most} may be: ask several times"
            raise ApiError(message, param="prompt")
        self._asks: list[Ask] = []
        for number, (ids, text) in enumerate(prompts):
            room_for(service, "prompt", len(ids), max(1, max_tokens))
            for k in range(n):
                echo = self._echo(ids, text) if fields.echo else None
                told = self._drawn_logprobs
                self._asks.append(
                    ask_of(
                        service, fields, number * n + k, ids, max_tokens, seed + k, told, grammar, echo, goes_on=True
                    )
                )
        self._usage = Usage(sum(len(ids) for ids, _ in prompts), range(0, len(self._asks), n))
        self._logprobs = Logprobs(service.tokenizer, fields.logprobs or 0, bool(fields.return_tokens_as_token_ids))
        self._head = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": service.model_name,
        }

    @property
    def _drawn_logprobs(self) -> int | None:
        """best_of chooses by them."""
        chooses = self._fields.n_drawn > self._fields.n_choices
        return 0 if self._fields.logprobs is None and chooses else self._fields.logprobs

    def _echo(self, ids: list[int], text: str | None) -> Echo:
        tokenizer = self._service.tokenizer
        return Echo(tokenizer, ids, tokenizer.decode(ids) if text is None else text, self._fields.logprobs)

    async def whole(self) -> dict[str, Any]:
        answers = await collected(self._service, self._asks)
        for one in answers:
            self._usage.take(one.index, one.n_new, one.ending)
        chosen = self._best(answers)
        choices = [self._choice(i, one.text, one.tokens, one.ending) for i, one in enumerate(chosen)]
        return self._head | {"choices": choices, "usage": self._usage.told()}

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        options = self._fields.stream_options
        always = options is not None and bool(options.continuous_usage_stats)
        at_end = options is not None and bool(options.include_usage)
        async for part in parts_of(self._service, self._asks):
            self._usage.take(part.index, part.n_new, part.ending)
            usage = {"usage": self._usage.told() if always else None} if always or at_end else {}
            yield self._head | {"choices": [self._choice(part.index, part.text, part.tokens, part.ending)]} | usage
        if at_end:
            yield self._head | {"choices": [], "usage": self._usage.told()}

    def _best(self, answers: Sequence[Collected]) -> list[Collected]:
        """Of each prompt's, the n with the highest log-probability per token."""
        n, drawn = self._fields.n_choices, self._fields.n_drawn
        if n == drawn:
            return list(answers)
        groups = [answers[start : start + drawn] for start in range(0, len(answers), drawn)]
        return [one for group in groups for one in sorted(group, key=_mean_logprob, reverse=True)[:n]]

    def _choice(self, index: int, text: str, tokens: Sequence[Told], ending: Ending | None) -> dict[str, Any]:
        has_logprobs = self._fields.logprobs is not None
        return {
            "index": index,
            "text": text,
            **experts_field(self._fields, self._service.tokenizer, tokens),
            "logprobs": self._logprobs.of_completion(tokens) if has_logprobs else None,
            "finish_reason": ending.reason if ending else None,
            "stop_reason": ending.stop_reason if ending else None,
        }


def _mean_logprob(answer: Collected) -> float:
    values = [token.logprob for token in answer.tokens[-answer.n_new :] if token.logprob is not None]
    return sum(values) / max(1, len(values))
