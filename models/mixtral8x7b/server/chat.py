"""/v1/chat/completions: a chat's next message."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.mixtral8x7b.host_rows.params import MOST_LOGPROBS
from models.mixtral8x7b.server.answers import Ending, collected, parts_of
from models.mixtral8x7b.server.calls import OWN, Call, CallReader, told_calls, told_result
from models.mixtral8x7b.server.errors import UNAVAILABLE, ApiError
from models.mixtral8x7b.server.experts import experts_field
from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.grammar import Matcher
from models.mixtral8x7b.server.live import event_stream, one_answer
from models.mixtral8x7b.server.logprobs import Logprobs
from models.mixtral8x7b.server.sampling import ask_of, first_seed, room_for
from models.mixtral8x7b.server.scores import Told
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import Text
from models.mixtral8x7b.server.tools import NamedTool, Tool, Tools, tools_of
from models.mixtral8x7b.server.usage import Usage
from models.mixtral8x7b.tokenizer import Tokenizer


class TextPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["text", "input_text", "output_text"]
    text: Text


def joined(content: str | list[TextPart]) -> str:
    return content if isinstance(content, str) else "".join(part.text for part in content)


class Message(BaseModel):
    """developer is another name of system. Parts of a content are joined. Only calls may stand without a content."""

    model_config = ConfigDict(strict=True, extra="allow")
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart] | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: Text | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Message":
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("a content")
        return self

    def told(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """As the tokenizer has it. Where its chats have no form for tools, what a function returned is the user's."""
        text = joined(self.content or "")
        if tokenizer.call_form is not None:
            told: dict[str, Any] = {"role": "system" if self.role == "developer" else self.role, "content": text}
            if self.tool_calls and self.role == "assistant":
                told["tool_calls"] = [call.told() for call in self.tool_calls]
            return told | {"tool_call_id": self.tool_call_id or ""} if self.role == "tool" else told
        if self.role == "tool":
            return {"role": "user", "content": told_result(self.tool_call_id, text)}
        if self.tool_calls and self.role == "assistant":
            text += told_calls(self.tool_calls)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatFields(Fields):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=MOST_LOGPROBS)] = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None

    NOT_OFFERED: ClassVar = Fields.NOT_OFFERED | {
        "audio": (),
        "modalities": (["text"],),
        "functions": ([],),
        "function_call": ("none",),
        "prediction": (),
        "web_search_options": (),
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "echo": (False,),
        "best_of": (1,),
        "add_special_tokens": (False,),
        "chat_template": (),
        "chat_template_kwargs": ({},),
        "documents": ([],),
        "mm_processor_kwargs": (),
    }

    def check(self, service: Service) -> None:
        super().check(service)
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError("top_logprobs is given without logprobs; set logprobs to true", param="top_logprobs")
        if self.add_generation_prompt and self.continue_final_message:
            message = "add_generation_prompt and continue_final_message are both true; set one of them to false"
            raise ApiError(message, param="continue_final_message")

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def chat_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions", responses=UNAVAILABLE)
    async def chat_completions(fields: ChatFields) -> Response:
        fields.check(service)
        tools = tools_of(fields.tools, fields.tool_choice, fields.parallel_tool_calls)
        ids = await asyncio.to_thread(_encoded, service.tokenizer, fields, tools)
        grammar = await asyncio.to_thread(_grammar, service, fields, tools)
        chat = _Chat(service, fields, ids, grammar, calls=tools is not None)
        return event_stream(chat.chunks()) if fields.stream else one_answer(chat.whole)

    return router


def _encoded(tokenizer: Tokenizer, fields: ChatFields, tools: Tools | None) -> list[int]:
    messages = [message.told(tokenizer) for message in fields.messages]
    has_form = tokenizer.call_form is not None
    if tools is not None and not has_form:
        messages = [tools.system_prompt(), *messages]
    return tokenizer.encode_chat(
        messages,
        tools.told() if tools is not None and has_form else (),
        fields.add_generation_prompt is not False,
        bool(fields.continue_final_message),
    )


def _grammar(service: Service, fields: ChatFields, tools: Tools | None) -> Callable[[], Matcher] | None:
    form = fields.grammar(service)
    if tools is None:
        return form
    if form is not None:
        message = "tools and a form of the answer are both given; leave one of them out, or set tool_choice to none"
        raise ApiError(message, param="tools")
    return tools.grammar(service.grammars, service.tokenizer)


class _Chat:
    """One request's choices. calls: they may be calls of functions."""

    def __init__(
        self,
        service: Service,
        fields: ChatFields,
        ids: list[int],
        grammar: Callable[[], Matcher] | None,
        calls: bool,
    ) -> None:
        self._service, self._fields = service, fields
        form = service.tokenizer.call_form
        self._readers = [CallReader(form or OWN) for _ in range(fields.n_choices)] if calls else None
        shown = service.tokenizer.control_in(form) if calls and form else ()
        goes_on = bool(fields.continue_final_message)
        most, seed = room_for(service, "messages", len(ids), fields.most_tokens), first_seed(fields)
        logprobs = (fields.top_logprobs or 0) if fields.logprobs else None
        self._asks = [
            ask_of(
                service,
                fields,
                index,
                ids,
                most,
                seed + index,
                logprobs,
                grammar,
                goes_on=goes_on,
                shown=shown,
            )
            for index in range(fields.n_choices)
        ]
        self._usage = Usage(len(ids), [0])
        self._logprobs = Logprobs(service.tokenizer, logprobs or 0, bool(fields.return_tokens_as_token_ids))
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": service.model_name,
        }

    async def whole(self) -> dict[str, Any]:
        choices = []
        for one in await collected(self._service, self._asks):
            self._usage.take(one.index, one.n_new, one.ending)
            text, calls = self._read(one.index, one.text, is_last=True)
            message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
            if calls:
                message |= {"content": None, "tool_calls": calls}
            choices.append(self._choice(one.index, {"message": message}, one.tokens, one.ending, bool(calls)))
        return self._head | {"object": "chat.completion", "choices": choices, "usage": self._usage.told()}

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        """Of each choice: its role, with the first token; pieces of its text; its end, which has no text."""
        options = self._fields.stream_options
        always = options is not None and bool(options.continuous_usage_stats)
        at_end = options is not None and bool(options.include_usage)
        head = self._head | {"object": "chat.completion.chunk"}
        begun: set[int] = set()
        untold: dict[int, list[Told]] = {}  # tokens whose text is held back
        async for part in parts_of(self._service, self._asks):
            self._usage.take(part.index, part.n_new, part.ending)
            usage = {"usage": self._usage.told() if always else None} if always or at_end else {}
            choices, tokens = [], untold.pop(part.index, []) + part.tokens
            text, calls = self._read(part.index, part.text, part.ending is not None)
            if part.index not in begun:
                begun.add(part.index)
                choices.append(self._choice(part.index, {"delta": {"role": "assistant", "content": ""}}))
            if text or calls:
                told = [{"index": number, **call} for number, call in enumerate(calls)]
                delta = {"tool_calls": told} if calls else {"content": text}
                choices.append(self._choice(part.index, {"delta": delta}, tokens))
                tokens = []
            if part.ending is not None:
                choices.append(self._choice(part.index, {"delta": {}}, tokens, part.ending, bool(calls)))
            elif tokens:
                untold[part.index] = tokens
            for choice in choices:
                yield head | {"choices": [choice]} | usage
        if at_end:
            yield head | {"choices": [], "usage": self._usage.told()}

    def _read(self, index: int, text: str, is_last: bool) -> tuple[str, list[dict[str, Any]]]:
        """(text, calls of functions), of a piece of an answer."""
        return self._readers[index].feed(text, is_last) if self._readers is not None else (text, [])

    def _choice(
        self,
        index: int,
        said: dict[str, Any],
        tokens: Sequence[Told] = (),
        ending: Ending | None = None,
        calls: bool = False,
    ) -> dict[str, Any]:
        reason = ending.reason if ending else None
        return {
            "index": index,
            **said,
            **experts_field(self._fields, self._service.tokenizer, tokens),
            "logprobs": self._logprobs.of_chat(tokens) if self._fields.logprobs and tokens else None,
            "finish_reason": "tool_calls" if calls and reason == "stop" else reason,
            "stop_reason": ending.stop_reason if ending else None,
        }
