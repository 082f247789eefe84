"""/v1/responses in its text form: nothing is stored, nothing but text comes in or goes out."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.host_rows.params import MOST_LOGPROBS
from models.mixtral8x7b.server.answers import Ask, Ending, collected, parts_of
from models.mixtral8x7b.server.chat import TextPart, joined
from models.mixtral8x7b.server.errors import UNAVAILABLE, ApiError, api_error
from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.grammar import ANY_OBJECT, Matcher
from models.mixtral8x7b.server.live import OF_A_STREAM, one_answer, text_stream
from models.mixtral8x7b.server.logprobs import Logprobs
from models.mixtral8x7b.server.sampling import ask_of, first_seed, room_for
from models.mixtral8x7b.server.scores import Told
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import AnyObject, Text

LOGPROBS = "message.output_text.logprobs"  # what `include` may name


class InputMessage(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    def told(self) -> dict[str, str]:
        return {"role": "system" if self.role == "developer" else self.role, "content": joined(self.content)}


class TextFormat(BaseModel):
    """What an answer tells again of it; only type and schema change something."""

    model_config = ConfigDict(strict=True, extra="ignore")
    type: Literal["text", "json_object", "json_schema"]
    name: Text | None = None
    description: Text | None = None
    strict: bool | None = None
    json_schema: AnyObject | None = Field(default=None, alias="schema")


class TextOptions(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    format: TextFormat | None = None


class ResponseFields(Fields):
    input: Text | Annotated[list[InputMessage], Field(min_length=1)]
    instructions: Text | None = None
    max_output_tokens: Annotated[int | None, Field(ge=1)] = None
    text: TextOptions | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=MOST_LOGPROBS)] = None
    include: list[str] | None = None
    metadata: dict[Text, Text] | None = None

    NOT_OFFERED: ClassVar = Fields.NOT_OFFERED | {
        "previous_response_id": (),
        "conversation": (),
        "background": (False,),
        "prompt": (),
        "reasoning": ({},),
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "truncation": ("disabled",),
    }

    def check(self, service: Service) -> None:
        super().check(service)
        if self.n_choices > 1:
            raise ApiError(f"n is {self.n_choices}; a response has one text: leave it out", param="n")
        if self.experts:
            message = "experts are not told in a response; leave it out, or ask /v1/chat/completions"
            raise ApiError(message, param="experts", code="unsupported_parameter")
        for name in self.include or ():
            if name != LOGPROBS:
                raise ApiError(f"include names {name[:60]!r}; the only one here is {LOGPROBS}", param="include")

    def messages(self) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.instructions}] if self.instructions else []
        if isinstance(self.input, str):
            return [*system, {"role": "user", "content": self.input}]
        return [*system, *(message.told() for message in self.input)]

    def grammar(self, service: Service) -> Callable[[], Matcher] | None:
        form = self.text.format if self.text else None
        if form is None or form.type == "text":
            return super().grammar(service)
        return service.grammars.of_schema("text", form.json_schema or ANY_OBJECT)

    @property
    def n_logprobs(self) -> int | None:
        return self.top_logprobs or 0 if self.top_logprobs is not None or self.include else None


def response_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/responses", responses=UNAVAILABLE)
    async def responses(fields: ResponseFields) -> Response:
        fields.check(service)
        ids = await asyncio.to_thread(service.tokenizer.encode_chat, fields.messages())
        grammar = await asyncio.to_thread(fields.grammar, service)
        most = room_for(service, "input", len(ids), fields.max_output_tokens)
        ask = ask_of(service, fields, 0, ids, most, first_seed(fields), fields.n_logprobs, grammar)
        response = _Response(service, fields, ask)
        return text_stream(response.encoded(), OF_A_STREAM) if fields.stream else one_answer(response.whole)

    return router


class _Response:
    def __init__(self, service: Service, fields: ResponseFields, ask: Ask) -> None:
        self._service, self._fields, self._ask = service, fields, ask
        self._logprobs = Logprobs(service.tokenizer, fields.n_logprobs or 0, bool(fields.return_tokens_as_token_ids))
        self._item_id, self._created = f"msg_{uuid.uuid4().hex}", int(time.time())
        self._id = f"resp_{uuid.uuid4().hex}"

    async def whole(self) -> dict[str, Any]:
        (one,) = await collected(self._service, [self._ask])
        return self._told("", one.text, one.tokens, one.n_new, one.ending)

    async def encoded(self) -> AsyncGenerator[str, None]:
        """Server-sent events, numbered, each with its type for a name. An error is the last of them."""
        number = 0
        async with aclosing(self._events()) as events:
            try:
                async for kind, values in events:
                    yield _event(kind, number, values)
                    number += 1
            except Exception as error:
                if not number:
                    raise
                yield _event("error", number, {**api_error(error).body()["error"], "type": "error"})

    async def _events(self) -> AsyncGenerator[tuple[str, dict[str, Any]], None]:
        place = {"item_id": self._item_id, "output_index": 0, "content_index": 0}
        text, tokens = "", list[Told]()
        async for part in parts_of(self._service, [self._ask]):
            if not tokens and not text:
                for kind in ("response.created", "response.in_progress"):
                    yield kind, {"response": self._told("in_progress")}
                item = self._item("in_progress", []) | {"content": []}
                yield "response.output_item.added", {"output_index": 0, "item": item}
                yield "response.content_part.added", {**place, "part": self._content("", [])}
            text, tokens = text + part.text, tokens + part.tokens
            if part.text:
                yield "response.output_text.delta", {**place, "delta": part.text, "logprobs": self._scores(part.tokens)}
            if part.ending is None:
                continue
            told = self._told("", text, tokens, part.n_new, part.ending)
            (item,) = told["output"]
            yield "response.output_text.done", {**place, "text": text, "logprobs": self._scores(tokens)}
            yield "response.content_part.done", {**place, "part": item["content"][0]}
            yield "response.output_item.done", {"output_index": 0, "item": item}
            yield f"response.{told['status']}", {"response": told}

    def _told(
        self, status: str, text: str = "", tokens: Sequence[Told] = (), n_new: int = 0, ending: Ending | None = None
    ) -> dict[str, Any]:
        fields, is_cut = self._fields, ending is not None and ending.reason == "length"
        status = status or ("incomplete" if is_cut else "completed")
        return {
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "instructions": fields.instructions,
            "max_output_tokens": fields.max_output_tokens,
            "metadata": fields.metadata or {},
            "model": self._service.model_name,
            "output": [self._item(status, [self._content(text, tokens)])] if ending else [],
            "parallel_tool_calls": True,
            "previous_response_id": None,
            "reasoning": {"effort": None, "summary": None},
            "store": False,
            "temperature": 1.0 if fields.temperature is None else fields.temperature,
            "text": {"format": self._form()},
            "tool_choice": "auto",
            "tools": [],
            "top_logprobs": fields.top_logprobs or 0,
            "top_p": 1.0 if fields.top_p is None else fields.top_p,
            "truncation": "disabled",
            "usage": self._usage(n_new, ending) if ending else None,
        }

    def _form(self) -> dict[str, Any]:
        form = self._fields.text.format if self._fields.text else None
        return form.model_dump(by_alias=True, exclude_none=True) if form else {"type": "text"}

    def _item(self, status: str, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self._item_id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _content(self, text: str, tokens: Sequence[Told]) -> dict[str, Any]:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": self._scores(tokens)}

    def _scores(self, tokens: Sequence[Told]) -> list[dict[str, Any]]:
        return self._logprobs.of_chat(tokens)["content"] if self._fields.n_logprobs is not None else []

    def _usage(self, n_new: int, ending: Ending) -> dict[str, Any]:
        n_prompt = len(self._ask.request.ids)
        return {
            "input_tokens": n_prompt,
            "input_tokens_details": {"cached_tokens": ending.finish.n_cached},
            "output_tokens": n_new,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": n_prompt + n_new,
        }


def _event(kind: str, number: int, values: dict[str, Any]) -> str:
    told = {"type": kind, "sequence_number": number} | values
    return f"event: {kind}\ndata: {json.dumps(told, ensure_ascii=False, separators=(',', ':'))}\n\n"
