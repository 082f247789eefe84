"""The page to chat on: files of `page/`, as they are. It needs nothing from elsewhere, and no key to be looked at."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import Response

_FOLDER = Path(__file__).parent / "page"
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # files of two versions never meet
}
_FILES = {
    "/" if file.name == "index.html" else f"/page/{file.name}": file
    for file in sorted(_FOLDER.iterdir())
    if file.suffix in _TYPES
}
PAGE_PATHS = frozenset(_FILES)


def page_routes() -> APIRouter:
    router = APIRouter()
    for path, file in _FILES.items():
        router.add_api_route(path, _sender(file), methods=["GET", "HEAD"], include_in_schema=False)
    return router


def _sender(file: Path) -> Callable[[], Awaitable[Response]]:
    content = file.read_bytes()

    async def send_it() -> Response:
        return Response(content, media_type=_TYPES[file.suffix], headers=_HEADERS)

    return send_it
