"""Who may ask: whoever has the key, if there is one."""

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from models.mixtral8x7b.server.chat_page import PAGE_PATHS
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.service import Service

OPEN = PAGE_PATHS | {"/health", "/ping", "/version", "/metrics", "/openapi.json"}  # for anybody


class Access:
    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not self._may(scope):
            message = "the key is wrong or missing; expected the header Authorization: Bearer KEY"
            headers = {"WWW-Authenticate": "Bearer"}
            refusal = ApiError(message, status=401, code="invalid_api_key", headers=headers)
            await refusal.response()(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may(self, scope: Scope) -> bool:
        """Digests are compared, in constant time, so that nothing is learnt of the key's length either."""
        expected = self._service.key_digest
        if expected is None or scope["path"] in OPEN:
            return True
        kind, _, given = Headers(scope=scope).get("authorization", "").partition(" ")  # bytes as latin-1
        digest = hashlib.sha256(given.strip().encode("latin-1")).digest()
        return hmac.compare_digest(digest, expected) and kind.lower() == "bearer"
