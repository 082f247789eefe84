"""Whatever is wrong is told in OpenAI's form, with the field; and the server goes on."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.sentences import faults
from tests.server.conftest import Served

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]


def error_of(answer: Any) -> dict[str, Any]:
    """Whole, and a sentence."""
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert not faults(error["message"]), error["message"]
    return error


def test_what_was_expected_is_told_in_words(api: TestClient) -> None:
    message = error_of(api.post(CHAT, json={"messages": []}))["message"]
    assert message == "messages is []; expected a list with at least 1 item"


def check_healthy(api: TestClient) -> None:
    assert api.get("/health").status_code == 200
    answer = api.post(COMPLETIONS, json={"prompt": "Once", "max_tokens": 2, "ignore_eos": True})
    assert answer.json()["usage"]["completion_tokens"] == 2


WRONG = [
    ("temperature", "hot"),
    ("temperature", 2.1),
    ("temperature", -1),
    ("temperature", True),
    ("top_p", 0),
    ("top_p", 1.5),
    ("n", 0),
    ("n", 129),
    ("n", 1.5),
    ("presence_penalty", 3),
    ("frequency_penalty", -2.5),
    ("repetition_penalty", 0),
    ("repetition_penalty", 1e308),
    ("repetition_penalty", 1e-300),
    ("min_p", 2),
    ("top_k", -2),
    ("seed", 2**63),
    ("seed", "1"),
    ("stop", ""),
    ("stop", [""]),
    ("stop", [1]),
    ("logit_bias", {"5": 101}),
    ("logit_bias", {"x": 1}),
    ("logit_bias", {"99999": 1}),
    ("logit_bias", {"-1": 1}),
    ("logit_bias", [1]),
    ("stop_token_ids", [99999]),
    ("allowed_token_ids", [1024]),
    ("allowed_token_ids", []),
    ("bad_words", [""]),
    ("min_tokens", -1),
    ("min_tokens", 513),
    ("stop", "x" * 1025),
    ("stop", ["x"] * 1025),
    ("bad_words", ["x"] * 1025),
    ("max_tokens", -1),
    ("stream", "yes"),
    ("stream_options", {"include_usage": True}),
    ("cache_salt", ""),
]


@pytest.mark.parametrize(("field", "value"), WRONG, ids=lambda value: str(value)[:20])
@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_a_field_out_of_range(api: TestClient, path: str, field: str, value: Any) -> None:
    answer = api.post(path, json={"prompt": "Once", "messages": HI, field: value})
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["type"] == "invalid_request_error"
    assert field in (error["param"] or error["message"])


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (COMPLETIONS, {"prompt": []}, "prompt"),
        (COMPLETIONS, {"prompt": [[]]}, "prompt"),
        (COMPLETIONS, {"prompt": [1024]}, "prompt"),
        (COMPLETIONS, {"prompt": [-1]}, "prompt"),
        (COMPLETIONS, {"prompt": [True]}, "prompt"),
        (COMPLETIONS, {"prompt": {"a": 1}}, "prompt"),
        (COMPLETIONS, {}, "prompt"),
        (COMPLETIONS, {"prompt": "x", "logprobs": 21}, "logprobs"),
        (COMPLETIONS, {"prompt": [[5]] * 73}, "prompt"),
        (COMPLETIONS, {"prompt": [[5]] * 2, "n": 128}, "prompt"),
        (COMPLETIONS, {"prompt": "x", "logprobs": -1}, "logprobs"),
        (COMPLETIONS, {"prompt": "x", "n": 3, "best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": "x", "stream": True, "best_of": 2}, "best_of"),
        (COMPLETIONS, {"prompt": "x", "suffix": "y"}, "suffix"),
        (CHAT, {"messages": HI, "top_logprobs": 2}, "top_logprobs"),
        (CHAT, {"messages": HI, "logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        (CHAT, {"messages": HI, "logprobs": 1}, "logprobs"),
        (CHAT, {"messages": HI, "max_completion_tokens": 0}, "max_completion_tokens"),
    ],
)
def test_what_does_not_go_together(api: TestClient, path: str, fields: dict[str, Any], param: str) -> None:
    answer = api.post(path, json=fields)
    assert answer.status_code == 400
    assert error_of(answer)["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff\xfe", b'"x"', b"[" * 100_000, b'{"prompt": NaN}'])
def test_a_body_that_is_no_object(api: TestClient, body: bytes) -> None:
    for kind in ("application/json", "text/plain"):
        answer = api.post(COMPLETIONS, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 400
        error_of(answer)
    check_healthy(api)


@pytest.mark.parametrize("name", ["temperature", "top_p", "min_p", "presence_penalty"])
def test_numbers_that_are_none(api: TestClient, name: str) -> None:
    for value in (float("nan"), float("inf"), -float("inf")):
        content = json.dumps({"prompt": "x", name: value})
        answer = api.post(COMPLETIONS, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert error_of(answer)["param"] == name


HALF = "\ud800"
SCHEMAS = ({"description": HALF}, {"properties": {HALF: {}}}, {"const": float("nan")}, {"enum": [[1, -float("inf")]]})


@pytest.mark.parametrize("schema", SCHEMAS, ids=range(4))
def test_a_schema_that_is_no_json(api: TestClient, schema: dict[str, Any]) -> None:
    """Halves of characters and numbers that are none, which Python's JSON lets pass."""
    form = {"type": "json_schema", "schema": schema}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    for path, field, value in (
        (CHAT, "tools", [tool]),
        (CHAT, "response_format", {"type": "json_schema", "json_schema": {"schema": schema}}),
        (CHAT, "structured_outputs", {"json": schema}),
        (CHAT, "structured_outputs", {"json": json.dumps(schema)}),
        ("/v1/responses", "text", {"format": form}),
        ("/v1/responses", "text", {"format": form | {"type": "text"}}),
        ("/v1/responses", "metadata", {HALF: "x"}),
    ):
        content = json.dumps({"messages": HI, "input": "Hi", field: value})
        answer = api.post(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (path, field)
        assert error_of(answer)["param"] == field


def test_what_nobody_looks_at_may_be_anything(api: TestClient) -> None:
    odd = {"type": "text", HALF: float("nan")}
    tool = {"type": "function", "function": {"name": "f", "strict": odd}}
    call = {"id": "1", "function": {"name": "f", "arguments": json.dumps({"a": HALF})}}
    chat = [*HI, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "content": "5"}]
    for path, fields in (
        (CHAT, {"messages": chat, "tools": [tool], "max_tokens": 2, "user": odd}),
        ("/v1/responses", {"input": "Hi", "text": {"format": odd}, "max_output_tokens": 2}),
        ("/v1/responses", {"input": "Hi", "text": {"format": odd}, "max_output_tokens": 2, "stream": True}),
    ):
        answer = api.post(path, content=json.dumps(fields), headers={"Content-Type": "application/json"})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("more", [{}, {"logprobs": 1}, {"top_k": 1, "min_p": 0.1, "logit_bias": {"5": 1}}])
def test_the_smallest_top_p_keeps_the_best(api: TestClient, more: dict[str, Any]) -> None:
    asked = {"prompt": "Once", "max_tokens": 3, "ignore_eos": True} | more
    best = api.post(COMPLETIONS, json=asked | {"temperature": 0}).json()["choices"][0]["text"]
    for top_p in (5e-324, 1e-40, 1e-3):
        answer = api.post(COMPLETIONS, json=asked | {"top_p": top_p})
        assert answer.json()["choices"][0]["text"] == best


def test_places_where_nothing_is(api: TestClient) -> None:
    for method, path, status in (("GET", "/v1/nothing", 404), ("GET", CHAT, 405), ("DELETE", "/v1/models", 405)):
        answer = api.request(method, path)
        assert answer.status_code == status
        error_of(answer)
    for path in ("/x%0ay", f"/{'x' * 5000}", f"/v1/models/{'x' * 5000}"):
        assert len(error_of(api.get(path))["message"]) < 300
    answer = api.post(COMPLETIONS, json={"prompt": "x", "model": "gpt-4"})
    assert (answer.status_code, error_of(answer)["code"]) == (404, "model_not_found")
    assert error_of(api.get("/v1/models/gpt-4"))["code"] == "model_not_found"


def test_an_answer_that_nothing_may_go_on_with(api: TestClient, served: Served) -> None:
    """Found only when it is drawn: the one request ends, and no other."""
    word = served.tokenizer.token_bytes(300).decode()
    answer = api.post(COMPLETIONS, json={"prompt": "x", "allowed_token_ids": [300], "bad_words": [word]})
    assert answer.status_code == 400
    error_of(answer)
    check_healthy(api)


def test_an_error_after_the_beginning_is_an_event(api: TestClient, served: Served) -> None:
    word = served.tokenizer.token_bytes(300).decode()
    fields = {"prompt": "x", "allowed_token_ids": [300], "bad_words": [word + word], "max_tokens": 9, "stream": True}
    answer = api.post(COMPLETIONS, json=fields)
    assert answer.status_code == 200
    *_, last, rest = answer.text.split("\n\n")
    assert rest == ""
    assert set(json.loads(last.removeprefix("data: "))) == {"error"}
    check_healthy(api)


def test_a_failed_engine(api: TestClient, served: Served) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    served.model.step = fail  # type: ignore[method-assign]
    answer = api.post(COMPLETIONS, json={"prompt": "x", "max_tokens": 5, "ignore_eos": True})
    assert answer.status_code == 503
    assert error_of(answer)["type"] == "server_error"
    for path in ("/health", CHAT):
        refused = api.get(path) if path == "/health" else api.post(path, json={"messages": HI})
        assert refused.status_code == 503
        error_of(refused)


def test_a_fault_of_the_program_tells_nothing_of_its_inside(api: TestClient, served: Served) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    served.service.tokenizer = type("", (), {"encode": fail})()  # type: ignore[assignment]
    answer = api.post("/tokenize", json={"prompt": "x"})
    assert answer.status_code in (200, 500)
    assert "secret" not in answer.text
    answer = api.post(COMPLETIONS, json={"prompt": "x"})
    assert answer.status_code == 500
    assert "secret" not in answer.text
    error_of(answer)
