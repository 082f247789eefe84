"""Requests to every route: bodies of the declared models, most of them damaged; and what may be answered."""

import json
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, NamedTuple

import httpx
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from starlette.testclient import TestClient

from tests.sentences import faults

# include_in_schema=False: nobody can learn of these from the page
UNDECLARED = {
    "/predictions/mixtral": "Prediction",
    "/predictions/mixtral/1.0": "Prediction",
    "/models/mixtral/invoke": "Prediction",
    "/v1/models/mixtral:predict": "Prediction",
    "/invocations": "Prediction",
}
OPENAI = ("/v1/completions", "/v1/chat/completions", "/v1/responses")
OF_TORCHSERVE = ("/predictions", "/models", "/invocations", "/ping")
PREDICTION = {
    "type": "object",
    "properties": {"prompt": {"type": "string", "minLength": 1}, "max_new_tokens": {"type": "integer", "maximum": 9}},
    "required": ["prompt"],
}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW")
KINDS = (
    "application/json",
    "application/json; charset=utf-16",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/\xff",
    "",
)
DEPTHS = (50, 200, 900, 960, 990, 1500, 4000, 20000)
NUMBERS = (-1, 0, 1, 1023, 1024, 2**31, 2**63, -(2**63) - 1, 10**25, 1e308, 5e-324, -0.0, 1e-7, 0.5)
NOT_FINITE = (float("nan"), float("inf"), -float("inf"))
TEXTS = ("", " ", "\0", "\ud800", "\udfff\ud800", "\u202e", "💥" * 40, "a" * 5000, "</s>", "[INST]", "1e5", "{", "(")
# words that mean something to what lies behind the models
WORDS = ("mixtral", "user", "assistant", "text", "message", "function", "json_object", "json_schema", "required", "5")
ALWAYS = {"content"}  # may be missing, but seldom should be
SCHEMAS: tuple[dict[str, Any], ...] = (
    {"type": "string", "maxLength": 3},
    {"enum": ["yes", "no"]},
    {"type": "no such"},
    {"$ref": "#/nowhere"},
    {"const": "\ud800"},
    {"type": "string", "description": "\ud800"},
    {"description": float("nan")},
)


CHATS = (
    [{"role": "user", "content": "Which?"}],
    [{"role": "system", "content": "Be kind."}, {"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a": "\\ud800"}'}}]},
        {"role": "tool", "content": "5", "tool_call_id": "1"},
    ],
)


class Shot(NamedTuple):
    method: str
    path: str
    body: bytes
    kind: str


def shots(app: FastAPI) -> SearchStrategy[Shot]:
    """Half of them aim: at a route, with its method, JSON, and a body that its model may have or nearly has."""
    page = app.openapi()
    models = page["components"]["schemas"] | {"Prediction": PREDICTION}
    bodies: dict[str, SearchStrategy[Any]] = {}
    for path, methods in page["paths"].items():
        for of_a_method in methods.values():
            declared = of_a_method.get("requestBody")
            if declared is not None:
                bodies[path] = _valid(declared["content"]["application/json"]["schema"], models)
    bodies |= {path: _valid(models[name], models) for path, name in UNDECLARED.items()}
    paths = (
        *page["paths"],
        *UNDECLARED,
        "/",
        "/openapi.json",
        "/docs",
        "/v1/",
        "/v1/nothing",
        "/page/../x",
        "/%00",
        "/x%0ay",
        "/" + "x" * 5000,
        "//",
    )

    @st.composite
    def shot(draw: st.DrawFn) -> Shot:
        if draw(st.integers(0, 3)):
            path = draw(st.sampled_from(OPENAI if draw(st.integers(0, 3)) else sorted(bodies)))
            value = draw(bodies[path])
            for _ in range(draw(st.sampled_from((0, 0, 1, 2)))):
                value = _damaged(draw, value)
            return Shot("POST", path, _encoded(value), "application/json")
        path = draw(st.sampled_from(paths)).replace(
            "{name}", draw(st.sampled_from(("mixtral", "x", "%ff", "a/b", "a:predict")))
        )
        if draw(st.booleans()):
            body = _encoded(draw(bodies[draw(st.sampled_from(sorted(bodies)))]))
            body = body[: draw(st.integers(0, len(body)))] + draw(
                st.sampled_from((b"", b"\xff", b"\0", b"}", b"data={"))
            )
        else:
            body = draw(st.binary(max_size=20) | st.sampled_from(DEPTHS).map(lambda depth: b"[" * depth))
        return Shot(draw(st.sampled_from(METHODS)), path, body, draw(st.sampled_from(KINDS)))

    return shot()


def barrage(api: TestClient, app: FastAPI, n: int) -> None:
    """n requests, the same each time, of which none may be a fault of the server's."""

    @settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(shots(app))
    def fire(shot: Shot) -> None:
        headers = {"Content-Type": shot.kind.encode("latin-1")}
        check_answer(shot, api.request(shot.method, shot.path, content=shot.body, headers=headers))

    fire()


def check_answer(shot: Shot, answer: httpx.Response) -> None:
    """No fault of the server's, and whatever is refused is told as it should be."""
    assert b"Traceback" not in answer.content
    assert answer.status_code < 500, answer.content
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        *events, rest = answer.text.split("\n\n")
        assert rest == ""
        last = events[-1].rpartition("data: ")[2]
        assert last == "[DONE]" or "error" in last or "response." in last
    if answer.status_code < 400:
        return
    if shot.method == "HEAD":
        return
    told = answer.json()
    if (shot.path.startswith(OF_TORCHSERVE) or shot.path.endswith(":predict")) and "error" not in told:
        assert set(told) == {"code", "type", "message"}
        return
    assert set(told) == {"error"}
    assert set(told["error"]) == {"message", "type", "param", "code"}
    message = told["error"]["message"]
    assert len(message) < 2000
    assert not faults(message), message


# ---------------------------------------------------------------- bodies


def _valid(schema: Mapping[str, Any], models: Mapping[str, Any]) -> SearchStrategy[Any]:
    """Values that a JSON schema of pydantic's allows. Answers stay short."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return st.deferred(lambda: _valid(models[name], models))
    if "anyOf" in schema:
        return st.one_of([_valid(one, models) for one in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "object" and "properties" in schema:
        given, required = schema["properties"], set(schema.get("required", ()))
        fields = {name: _field(name, one, models) for name, one in given.items()}
        return st.fixed_dictionaries(
            {name: one for name, one in fields.items() if name in required},
            optional={name: one for name, one in fields.items() if name not in required},
        ).flatmap(lambda whole: _some(whole, required))
    if kind == "object":
        values = schema.get("additionalProperties")
        inner = _valid(values, models) if isinstance(values, dict) and values else _anything()
        return st.dictionaries(st.sampled_from((*WORDS, "7", "300", "\ud800")), inner, max_size=3) | st.sampled_from(
            SCHEMAS
        )
    if kind == "array":
        return st.lists(_valid(schema["items"], models), min_size=schema.get("minItems", 0), max_size=3)
    if kind == "string":
        return (
            st.sampled_from((*WORDS, "Once upon a time", *TEXTS))
            if not schema.get("pattern")
            else st.sampled_from(WORDS)
        )
    if kind == "integer":
        return st.integers(max(-1, int(schema.get("minimum", -1))), int(min(schema.get("maximum", 40), 40)))
    if kind == "number":
        low, high = schema.get("minimum", schema.get("exclusiveMinimum", -1e308)), schema.get("maximum", 1e308)
        return st.sampled_from([low, high, *(number for number in NUMBERS if low <= number <= high)])
    return {"boolean": st.booleans(), "null": st.none()}.get(kind, _anything())


def _field(name: str, schema: Mapping[str, Any], models: Mapping[str, Any]) -> SearchStrategy[Any]:
    if name == "model":
        return st.sampled_from(("mixtral", None))
    if name in ("n", "best_of"):
        return st.integers(1, 3)
    if name == "messages":
        return st.just(CHATS[0]) | st.sampled_from(CHATS) | _valid(schema, models)
    if name in ("input", "prompt"):
        return st.just("Which?") | _valid(schema, models)
    return _valid(schema, models)


def _some(whole: dict[str, Any], required: set[str]) -> SearchStrategy[dict[str, Any]]:
    """Most of the fields that may be missing are."""
    names = sorted(set(whole) - required)
    kept: SearchStrategy[set[str]] = (
        st.sets(st.sampled_from(names), min_size=1, max_size=3) if names else st.just(set())
    )
    return kept.map(lambda some: {name: whole[name] for name in whole if name in required | some | ALWAYS})


def _anything() -> SearchStrategy[Any]:
    plain = st.sampled_from((None, True, *NUMBERS, *NOT_FINITE, *TEXTS, *WORDS))
    deep = st.sampled_from(DEPTHS[:6]).map(_nested)
    return (
        plain
        | deep
        | st.lists(plain, max_size=3)
        | st.dictionaries(st.sampled_from((*TEXTS, *WORDS)), plain, max_size=3)
    )


def _nested(depth: int) -> Any:
    value: Any = 1
    for number in range(depth):
        value = [value] if number % 2 else {"a": value}
    return value


def _damaged(draw: st.DrawFn, value: Any) -> Any:
    """A copy, in which one place is another value, is gone, or has a neighbour."""
    places = _places(value)
    if not places:
        return draw(_anything())
    *way, last = draw(st.sampled_from(places))
    whole = inner = copy(value)
    for step in way:
        inner[step] = copy(inner[step])
        inner = inner[step]
    how = draw(st.sampled_from(("other", "other", "gone", "new")))
    if how == "gone":
        del inner[last]
    elif how == "new" and isinstance(inner, dict):
        inner[draw(st.sampled_from((*TEXTS, "suffix", "tools", "response_format", "nobody")))] = draw(_anything())
    else:
        inner[last] = draw(_anything())
    return whole


def _places(value: Any, depth: int = 0) -> list[tuple[Any, ...]]:
    if depth > 5 or not isinstance(value, (dict, list)):
        return []
    keys: Sequence[Any] = list(value) if isinstance(value, dict) else range(len(value))
    return [place for key in keys for place in ((key,), *((key, *rest) for rest in _places(value[key], depth + 1)))]


def _encoded(value: Any) -> bytes:
    """Halves of characters as \\ud800, numbers that are none as NaN."""
    try:
        return json.dumps(value).encode()
    except RecursionError:
        return b"[" * 5000 + b"]" * 5000
