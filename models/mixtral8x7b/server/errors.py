"""What goes wrong, in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from models.mixtral8x7b.engine.engine import BusyError
from models.mixtral8x7b.engine.stream import EngineError
from models.mixtral8x7b.mistake import Mistake

RETRY_AFTER_S = 1
LONGEST_SHOWN = 60  # characters of a value that is wrong
INVALID, SERVER = "invalid_request_error", "server_error"
_KINDS = {401: INVALID, 429: "rate_limit_error"}


class ErrorFields(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorForm(BaseModel):
    error: ErrorFields


# What /openapi.json says beside the answers.
REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorForm, "description": "Refused: the message says why, and what to do."}
}
UNAVAILABLE: dict[int | str, dict[str, Any]] = {
    503: {"model": ErrorForm, "description": "It drains, or the engine has failed."}
}


class ApiError(Mistake):
    """A request that is refused. param: the field that is wrong; code: a word for programs."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, Any]:
        kind = _KINDS.get(self.status, INVALID if self.status < 500 else SERVER)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def response(self) -> Response:
        content = json.dumps(self.body())  # ASCII: the message may quote what is no text
        return Response(content, self.status, self.headers, media_type="application/json")


def unavailable(message: str) -> ApiError:
    """The server as a whole cannot answer now."""
    return ApiError(message, status=503, code="unavailable", headers={"Retry-After": str(RETRY_AFTER_S)})


def api_error(error: Exception) -> ApiError:
    """What a client is told of it; nothing of the program's inside."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BusyError):
        headers = {"Retry-After": str(RETRY_AFTER_S)}
        return ApiError(str(error), status=429, code="queue_full", headers=headers)
    if isinstance(error, EngineError):
        return unavailable(str(error))
    if isinstance(error, Mistake):
        return ApiError(str(error))
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return ApiError("the server failed at this request; ask again, and see its log if it fails again", status=500)


def handle_errors(app: FastAPI) -> None:
    async def of_a_mistake(request: Request, error: Exception) -> Response:
        return api_error(error).response()

    async def of_the_fields(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return of_fields(error.errors()).response()

    async def of_a_route(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _of_a_route(request, error).response()

    for kind in (Mistake, Exception):
        app.add_exception_handler(kind, of_a_mistake)
    app.add_exception_handler(RequestValidationError, of_the_fields)
    app.add_exception_handler(HTTPException, of_a_route)


def _of_a_route(request: Request, error: HTTPException) -> ApiError:
    where = f"{request.method} {_shown(request.url.path)[1:-1]}"
    if error.status_code == 404:
        return ApiError(f"there is no {where}; see /openapi.json for the routes that there are: choose one", status=404)
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "another method")
        headers = dict(error.headers or {})
        return ApiError(f"there is no {where}; expected {allowed}", status=405, headers=headers)
    if error.status_code == 400:
        return ApiError("the body cannot be read; expected JSON in UTF-8")
    return ApiError(str(error.detail), status=error.status_code, headers=error.headers)


def of_fields(errors: Sequence[Any]) -> ApiError:
    first = errors[0]
    if first["type"] == "json_invalid":
        return ApiError(f"the body is no JSON ({first['ctx']['error']} at {first['loc'][-1]}); expected an object")
    if len(first["loc"]) < 2:
        return ApiError("the body is no JSON object; expected one, and Content-Type: application/json")
    place = _place(first["loc"])
    same = [error for error in errors if _place(error["loc"]) == place]
    expected = " or ".join(dict.fromkeys(_expected(error["msg"]) for error in same))
    is_there = first["type"] != "missing" and first["input"] is not None
    given = f"is {_shown(first['input'])}" if is_there else "is not given"
    return ApiError(f"{place} {given}; expected {expected}", param=first["loc"][1])


def _shown(value: object) -> str:
    """As it came."""
    return _cut(json.dumps(value, default=str))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + ".."


def _place(loc: Sequence[str | int]) -> str:
    """messages[0].content, of what pydantic says: up to where it tries one type after the other."""
    place = str(loc[1])
    for part in loc[2:]:
        if isinstance(part, int):
            place += f"[{part}]"
        elif part.isidentifier() and part not in ("str", "int"):
            place += f".{part}"
        else:
            break
    return _cut(place)


def _expected(message: str) -> str:
    """pydantic's words in ours."""
    for words, ours in (
        ("Input should be ", ""),
        ("Field required", "a value"),
        ("Value error, ", ""),
        ("String should have", "text with"),
        ("List should have", "a list with"),
    ):
        message = message.replace(words, ours)
    message = message.split(" after validation")[0]
    return f"a value {message}" if message.startswith(("less", "greater")) else message
