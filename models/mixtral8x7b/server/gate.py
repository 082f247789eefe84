"""Where every request comes in: counted while it is answered, refused when the server can answer none."""

from starlette.types import ASGIApp, Receive, Scope, Send

from models.mixtral8x7b.server.errors import unavailable
from models.mixtral8x7b.server.service import Service

ASKS_THE_MODEL = ("/v1/completions", "/v1/chat/completions", "/v1/responses", "/predictions", "/invocations")


class Gate:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(ASKS_THE_MODEL):
            await self._app(scope, receive, send)
            return
        if (trouble := self._service.trouble) is not None:
            await unavailable(trouble).response()(scope, receive, send)
            return
        self._service.n_open += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._service.n_open -= 1
