"""/v1/chat/completions: a chat's next message."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.host_rows.params import MOST_LOGPROBS
from models.mixtral8x7b.server.answers import Ending, collected, parts_of
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.grammar import Matcher
from models.mixtral8x7b.server.live import event_stream, one_answer
from models.mixtral8x7b.server.logprobs import Logprobs
from models.mixtral8x7b.server.sampling import ask_of, first_seed, room_for
from models.mixtral8x7b.server.scores import Told
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import Text
from models.mixtral8x7b.server.usage import Usage


class TextPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["text", "input_text", "output_text"]
    text: Text


class Message(BaseModel):
    """developer is another name of system. Parts of a content are joined."""

    model_config = ConfigDict(strict=True, extra="allow")
    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    def told(self) -> dict[str, str]:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatFields(Fields):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int | None, Field(ge=0, le=MOST_LOGPROBS)] = None

    NOT_OFFERED: ClassVar = Fields.NOT_OFFERED | {
        "audio": (),
        "modalities": (["text"],),
        "functions": ([],),
        "function_call": ("none",),
        "tools": ([],),
        "tool_choice": ("none", "auto"),
        "prediction": (),
        "web_search_options": (),
        "reasoning_effort": ("none",),
        "verbosity": ("medium",),
        "echo": (False,),
        "best_of": (1,),
        "add_special_tokens": (False,),
        "add_generation_prompt": (True,),
        "continue_final_message": (False,),
        "chat_template": (),
        "chat_template_kwargs": ({},),
        "documents": ([],),
        "mm_processor_kwargs": (),
    }

    def check(self, service: Service) -> None:
        super().check(service)
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError("top_logprobs is given without logprobs; set logprobs to true", param="top_logprobs")

    @property
    def most_tokens(self) -> int | None:
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


def chat_routes(service: Service) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions")
    async def chat_completions(fields: ChatFields) -> Response:
        fields.check(service)
        messages = [message.told() for message in fields.messages]
        ids = await asyncio.to_thread(service.tokenizer.encode_chat, messages)
        grammar = await asyncio.to_thread(fields.grammar, service)
        chat = _Chat(service, fields, ids, grammar)
        return event_stream(chat.chunks()) if fields.stream else one_answer(chat.whole)

    return router


class _Chat:
    """One request's choices."""

    def __init__(
        self, service: Service, fields: ChatFields, ids: list[int], grammar: Callable[[], Matcher] | None
    ) -> None:
        self._service, self._fields = service, fields
        most, seed = room_for(service, "messages", len(ids), fields.most_tokens), first_seed(fields)
        logprobs = (fields.top_logprobs or 0) if fields.logprobs else None
        self._asks = [
            ask_of(service, fields, index, ids, most, seed + index, logprobs, grammar)
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
            message = {"role": "assistant", "content": one.text, "refusal": None}
            choices.append(self._choice(one.index, {"message": message}, one.tokens, one.ending))
        return self._head | {"object": "chat.completion", "choices": choices, "usage": self._usage.told()}

    async def chunks(self) -> AsyncGenerator[dict[str, Any], None]:
        """Of each choice: its role, with the first token; pieces of its text; its end, which has no text."""
        options = self._fields.stream_options
        always = options is not None and bool(options.continuous_usage_stats)
        at_end = options is not None and bool(options.include_usage)
        head = self._head | {"object": "chat.completion.chunk"}
        begun: set[int] = set()
        async for part in parts_of(self._service, self._asks):
            self._usage.take(part.index, part.n_new, part.ending)
            usage = {"usage": self._usage.told() if always else None} if always or at_end else {}
            choices, tokens = [], part.tokens
            if part.index not in begun:
                begun.add(part.index)
                choices.append(self._choice(part.index, {"delta": {"role": "assistant", "content": ""}}))
            if part.text:
                choices.append(self._choice(part.index, {"delta": {"content": part.text}}, tokens))
                tokens = []
            if part.ending is not None:
                choices.append(self._choice(part.index, {"delta": {}}, tokens, part.ending))
            for choice in choices:
                yield head | {"choices": [choice]} | usage
        if at_end:
            yield head | {"choices": [], "usage": self._usage.told()}

    def _choice(
        self, index: int, said: dict[str, Any], tokens: Sequence[Told] = (), ending: Ending | None = None
    ) -> dict[str, Any]:
        return {
            "index": index,
            **said,
            "logprobs": self._logprobs.of_chat(tokens) if self._fields.logprobs and tokens else None,
            "finish_reason": ending.reason if ending else None,
            "stop_reason": ending.stop_reason if ending else None,
        }
