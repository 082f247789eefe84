"""Answers to a client that may leave: then what makes them is cancelled, whatever it was waiting for."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from typing import Any

from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from models.mixtral8x7b.server.errors import api_error

OF_A_STREAM = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache",
    "X-Accel-Buffering": "no",  # nginx would hold it back
}


class Live(Response):
    """What `make` sends. What it raises before it has sent anything is answered as an error."""

    def __init__(self, make: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self.make = make
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        making = asyncio.ensure_future(self.make(scope, receive, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({making, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            making.cancel()
            leaving.cancel()
            await asyncio.wait({making, leaving})
        if not making.cancelled():
            with suppress(OSError):  # the client has left
                making.result()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def one_answer(make: Callable[[], Awaitable[dict[str, Any]]]) -> Live:
    async def send_it(scope: Scope, receive: Receive, send: Send) -> None:
        await JSONResponse(await make())(scope, receive, send)

    return Live(send_it)


def event_stream(events: AsyncGenerator[dict[str, Any], None]) -> Live:
    """Server-sent events, the last of them [DONE], or an error."""

    async def encoded() -> AsyncGenerator[str, None]:
        async with aclosing(events):
            try:
                first = True
                async for event in events:
                    first = False
                    yield _event(event)
            except Exception as error:
                if first:
                    raise
                yield _event(api_error(error).body())
            else:
                yield "data: [DONE]\n\n"

    return text_stream(encoded(), OF_A_STREAM)


def text_stream(pieces: AsyncGenerator[str, None], headers: dict[str, str]) -> Live:
    """Sent as they come, the headers with the first."""

    async def send_them(scope: Scope, receive: Receive, send: Send) -> None:
        pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        started = False
        async with aclosing(pieces):
            async for piece in pieces:
                if not started:
                    await send({"type": "http.response.start", "status": 200, "headers": pairs})
                    started = True
                await send({"type": "http.response.body", "body": piece.encode(), "more_body": True})
        if not started:
            await send({"type": "http.response.start", "status": 200, "headers": pairs})
        await send({"type": "http.response.body", "body": b""})

    return Live(send_them)


def _event(values: dict[str, Any]) -> str:
    return f"data: {json.dumps(values, ensure_ascii=False, separators=(',', ':'))}\n\n"
