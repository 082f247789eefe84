"""The tokenizer, for clients that count or cut."""

import asyncio
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from models.mixtral8x7b.server.chat import Message
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.sampling import check_ids
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import Text


class ToTokens(BaseModel):
    """A prompt or messages. A prompt that is no more than the name of a control token, <s> say, is that token where
    add_special_tokens is false: lm-eval asks so for what begins and ends a text."""

    model_config = ConfigDict(strict=True, extra="allow")
    model: str | None = None
    prompt: Text | None = None
    messages: list[Message] | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None


class ToText(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    model: str | None = None
    tokens: list[int]


def token_routes(service: Service) -> APIRouter:
    router, tokenizer = APIRouter(), service.tokenizer

    def ids_of(asked: ToTokens) -> list[int]:
        if (asked.prompt is None) == (asked.messages is None):
            raise ApiError("expected a prompt or messages, one of the two", param="prompt")
        if asked.messages is not None:
            return tokenizer.encode_chat([message.told(tokenizer) for message in asked.messages])
        if asked.add_special_tokens is False and (token := tokenizer.control_id(asked.prompt or "")) is not None:
            return [token]
        return tokenizer.encode(asked.prompt or "", asked.add_special_tokens is not False)

    @router.post("/tokenize")
    async def tokenize(asked: ToTokens) -> dict[str, Any]:
        service.check_model(asked.model)
        ids = await asyncio.to_thread(ids_of, asked)
        told: dict[str, Any] = {"tokens": ids, "count": len(ids), "max_model_len": service.max_context}
        if asked.return_token_strs:
            told["token_strs"] = [tokenizer.token_bytes(i).decode("utf-8", "replace") for i in ids]
        return told

    @router.post("/detokenize")
    async def detokenize(asked: ToText) -> dict[str, str]:
        service.check_model(asked.model)
        check_ids(service, "tokens", asked.tokens)
        return {"prompt": await asyncio.to_thread(tokenizer.decode, asked.tokens)}

    @router.get("/tokenizer_info")
    async def tokenizer_info() -> dict[str, Any]:
        names = {name: tokenizer.roles.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
        return {**names, "chat_template": tokenizer.chat_template, "vocab_size": tokenizer.vocab_size}

    return router
