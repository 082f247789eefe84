"""How large a body may be."""

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.service import Service


class Limits:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._most = app, service.most_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._most:
            await ApiError(self._sentence(), status=413).response()(scope, receive, send)
            return
        n_read = 0

        async def counted() -> Message:
            nonlocal n_read
            message = await receive()
            n_read += len(message.get("body", b""))
            if n_read > self._most:  # of a body that does not tell its length
                raise HTTPException(413, self._sentence())
            return message

        await self._app(scope, counted, send)

    def _sentence(self) -> str:
        return f"the body is too large; expected at most {self._most} bytes"
