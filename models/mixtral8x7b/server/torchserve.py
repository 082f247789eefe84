"""TorchServe's form: a prompt in, pieces of plain text out; and what its management tells.

curl http://localhost:8080/predictions/mixtral -T request.json      # {"prompt": "...", "max_new_tokens": 50}
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Message, Receive, Scope, Send

from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.engine.request import Request as EngineRequest
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.server.answers import Ask, parts_of
from models.mixtral8x7b.server.errors import ApiError, api_error, of_fields
from models.mixtral8x7b.server.live import Live, text_stream
from models.mixtral8x7b.server.sampling import room_for
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.text import SomeText

METHODS = ["GET", "POST", "PUT"]
VERSION = "1.0"  # of the model, there
_TYPES = {
    400: "BadRequestException",
    404: "ModelNotFoundException",
    405: "MethodNotAllowedException",
    408: "RequestTimeoutException",
    413: "RequestEntityTooLargeException",
    429: "ServiceUnavailableException",
    503: "ServiceUnavailableException",
}


@dataclass(frozen=True)
class TorchServeOptions:
    """Of model_config.yaml, as far as it has a meaning here."""

    max_new_tokens: int = 50
    streams: bool = True
    response_timeout_s: float | None = None


USUAL = TorchServeOptions()


class TorchServeError(BaseModel):
    code: int
    type: str
    message: str


class Prediction(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    prompt: SomeText
    max_new_tokens: Annotated[int | None, Field(ge=1)] = None


def torchserve_routes(service: Service, options: TorchServeOptions) -> APIRouter:
    router = APIRouter()

    async def predict(request: Request, name: str, version: str = VERSION) -> Response:
        try:
            _check(service, name, version)
            prediction = _read(await request.body(), request.headers.get("content-type", ""))
            ids = await asyncio.to_thread(service.tokenizer.encode, prediction.prompt)
            wanted = prediction.max_new_tokens or options.max_new_tokens
            asked = EngineRequest(
                ids, room_for(service, "prompt", len(ids), wanted), GREEDY, deadline_s=options.response_timeout_s
            )
        except Exception as error:
            return _refusal(error)
        pieces = _texts(service, Ask(0, asked, after=ids))
        headers = {"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-cache"}
        if options.streams:
            return _told(text_stream(pieces, headers | {"ts_stream_next": "true"}))
        return _told(text_stream(_joined(pieces), headers))

    async def invoke(request: Request) -> Response:
        return await predict(request, service.model_name)

    for path in ("/predictions/{name}", "/predictions/{name}/{version}", "/models/{name}/invoke"):
        router.add_api_route(path, predict, methods=METHODS, include_in_schema=False)
    router.add_api_route("/v1/models/{name}:predict", predict, methods=["POST"], include_in_schema=False)
    router.add_api_route("/invocations", invoke, methods=["POST"], include_in_schema=False)
    router.include_router(_management(service))
    return router


def _management(service: Service) -> APIRouter:
    """What may be read of it; nothing can be changed."""
    refused = {"model": TorchServeError, "description": "Refused: the message says why."}
    router, started = (
        APIRouter(responses={"4XX": refused}),
        datetime.fromtimestamp(service.created, timezone.utc).isoformat(),
    )

    @router.get("/ping", responses={500: {"description": "It drains, or the engine has failed."}})
    async def ping() -> Response:
        well = service.trouble is None
        return JSONResponse({"status": "Healthy" if well else "Unhealthy"}, 200 if well else 500)

    @router.get("/models")
    async def models() -> dict[str, Any]:
        return {"models": [{"modelName": service.model_name, "modelUrl": service.model_name}]}

    @router.get("/models/{name}")
    async def one_model(name: str) -> Response:
        try:
            _check(service, name, VERSION)
        except ApiError as error:
            return _refusal(error)
        stats = service.engine.stats()
        worker = {"id": "0", "startTime": started, "status": "UNLOADING" if service.trouble else "READY", "gpu": False}
        told = {
            "modelName": service.model_name,
            "modelVersion": VERSION,
            "modelUrl": service.model_name,
            "engine": "ttnn",
            "runtime": "python",
            "minWorkers": 1,
            "maxWorkers": 1,
            "batchSize": ROWS,
            "maxBatchDelay": 0,
            "workers": [worker | {"memoryUsage": 0}],
            "jobQueueStatus": {
                "remainingCapacity": max(0, service.engine.most_waiting - stats.n_waiting),
                "pendingRequests": stats.n_waiting,
            },
        }
        return JSONResponse([told])

    return router


def _check(service: Service, name: str, version: str) -> None:
    """Raises ApiError."""
    if (name, version) != (service.model_name, VERSION):
        where = name[:60] if version == VERSION else f"{name[:60]} of version {version[:60]}"
        raise ApiError(f"Model not found: {where}; the only one is {service.model_name}, {VERSION}", status=404)


def _read(body: bytes, kind: str) -> Prediction:
    """JSON, or a form whose `data` or `body` is JSON. Raises ApiError."""
    try:
        if kind.startswith("application/x-www-form-urlencoded") and not body.lstrip().startswith(b"{"):
            fields = parse_qs(body.decode())
            body = (fields.get("data") or fields.get("body") or [""])[0].encode()
        values = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ApiError("the body is no JSON; expected an object with prompt and max_new_tokens") from error
    try:
        return Prediction.model_validate(values)
    except ValidationError as error:
        raise of_fields([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error


async def _texts(service: Service, ask: Ask) -> AsyncGenerator[str, None]:
    async for part in parts_of(service, [ask]):
        if part.text:
            yield part.text


async def _joined(pieces: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    yield "".join([piece async for piece in pieces])


def _told(live: Live) -> Live:
    """With its errors in TorchServe's form. Text has none: one that has begun breaks off."""

    async def send_it(scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await live.make(scope, receive, noted)
        except Exception as error:
            if not has_begun:
                await _refusal(error)(scope, receive, send)

    return Live(send_it)


def _refusal(error: Exception) -> Response:
    told = api_error(error)
    status = 503 if told.status == 429 else told.status
    kind = _TYPES.get(told.status, "InternalServerException")
    content = json.dumps({"code": status, "type": kind, "message": told.message})
    return Response(content, status, told.headers, media_type="application/json")
