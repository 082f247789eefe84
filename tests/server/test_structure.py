"""Answers of a form that was asked for: whatever the model likes, they have it."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Served

HI = [{"role": "user", "content": "Hi"}]
PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON, "strict": True}}


def chat(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/chat/completions", json={"messages": HI, "seed": 1} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("form", [{"response_format": SCHEMA_FORMAT}, {"structured_outputs": {"json": PERSON}}])
def test_json_of_a_schema(api: TestClient, form: dict[str, Any], temperature: float) -> None:
    for seed in range(3):
        choice = chat(api, temperature=temperature, seed=seed, **form)
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["message"]["content"]), PERSON)


def test_what_the_model_says_of_itself_is_kept(api: TestClient, served: Served) -> None:
    """It may say every text of the form: what it says is not changed."""
    said = '{"name": "Zoë 😀", "age": 41}'
    served.model.says["Hi"] = served.tokenizer.encode_inside(said)
    assert chat(api, temperature=0)["message"]["content"] == said
    assert chat(api, temperature=0, response_format=SCHEMA_FORMAT)["message"]["content"] == said
    assert chat(api, temperature=0, response_format={"type": "text"})["message"]["content"] == said


def test_a_model_that_likes_white_space_comes_to_an_end(api: TestClient) -> None:
    """In the form and in a call's arguments."""
    likes = {str(token): 100 for token in (13, 35, 957)}  # line breaks and spaces
    one = {"type": "object", "properties": {"x": {"const": 1}}, "required": ["x"], "additionalProperties": False}
    call = {"type": "function", "function": {"name": "f", "parameters": one}}
    for form in (
        {"response_format": SCHEMA_FORMAT},
        {"tools": [call], "tool_choice": "required", "parallel_tool_calls": False},
    ):
        assert chat(api, logit_bias=likes, temperature=0, **form)["finish_reason"] in ("stop", "tool_calls")


def test_any_object(api: TestClient) -> None:
    text = chat(api, response_format={"type": "json_object"}, max_completion_tokens=80, logit_bias={"1021": 1})
    assert text["message"]["content"].lstrip().startswith("{")


@pytest.mark.parametrize("regex", [r"[A-Z][a-z]{2,5} \d{3}", "(yes|no), (😀|日本)!", r"\{\}"])
def test_a_regular_expression(api: TestClient, regex: str) -> None:
    for seed in range(3):
        choice = chat(api, seed=seed, structured_outputs={"regex": regex})
        assert re.fullmatch(regex, choice["message"]["content"])
        assert choice["finish_reason"] == "stop"


def test_one_of_some_texts(api: TestClient) -> None:
    texts = ["positive", "negative", 'quo"ted', "日本\n"]
    found = {chat(api, seed=seed, structured_outputs={"choice": texts})["message"]["content"] for seed in range(12)}
    assert found <= set(texts)
    assert len(found) > 1


SUM = r"""
start: term (("+" | "-") term){1,3}
term: NUMBER | "(" term "*" term ")"
NUMBER: /[1-9][0-9]{0,2}/
"""


def test_a_grammar(api: TestClient) -> None:
    for seed in range(3):
        limits = {"max_completion_tokens": 200, "seed": seed, "logit_bias": {"1000": 1}}
        choice = chat(api, structured_outputs={"grammar": SUM}, temperature=0.5, **limits)
        text = choice["message"]["content"]
        assert choice["finish_reason"] == "stop"
        assert re.fullmatch(r"[0-9()*+-]+", text)
        assert isinstance(eval(text), int)


def test_of_a_completion_in_a_stream_with_logprobs(api: TestClient) -> None:
    body = {"prompt": "Once", "max_tokens": 60, "structured_outputs": {"regex": "[ab]{5}"}, "logprobs": 2, "n": 3}
    answer = api.post("/v1/completions", json=body).json()
    for choice in answer["choices"]:
        assert re.fullmatch("[ab]{5}", choice["text"])
        assert len(choice["logprobs"]["tokens"]) >= 2


def test_thirty_two_of_all_forms_at_once(api: TestClient) -> None:
    forms: list[dict[str, Any]] = [
        {"structured_outputs": {"choice": ["left", "right"]}},
        {"structured_outputs": {"regex": r"\d{4}"}},
        {"response_format": SCHEMA_FORMAT},
        {"max_completion_tokens": 10},
    ]
    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda n: chat(api, seed=n, **forms[n % 4])["message"]["content"], range(32)))
    assert set(found[0::4]) <= {"left", "right"}
    assert all(re.fullmatch(r"\d{4}", text) for text in found[1::4])
    for text in found[2::4]:
        jsonschema.validate(json.loads(text), PERSON)
    assert len(set(found[3::4])) == 8


@pytest.mark.parametrize(
    "form",
    [
        {"response_format": {"type": "json_schema"}},
        {"response_format": {"type": "xml"}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nothing"}}}},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
        {"response_format": 5},
        {"structured_outputs": {}},
        {"structured_outputs": {"regex": "(", "choice": None}},
        {"structured_outputs": {"regex": "a", "choice": ["b"]}},
        {"structured_outputs": {"choice": []}},
        {"structured_outputs": {"json": "{"}},
        {"structured_outputs": {"json": "5"}},
        {"structured_outputs": {"grammar": "x"}},
        {"structured_outputs": {"grammar": 'root ::= "a"'}},  # another form of grammars
        {"structured_outputs": {"grammar": "start: nothing"}},
        {"structured_outputs": {"grammar": "start: /(/"}},
        {"structured_outputs": {"grammar": 'start: "a"', "regex": "a"}},
        {"structured_outputs": {"regex": "a"}, "response_format": {"type": "json_object"}},
    ],
    ids=str,
)
def test_forms_that_are_none(api: TestClient, form: dict[str, Any]) -> None:
    answer = api.post("/v1/chat/completions", json={"messages": HI} | form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] in form
    assert chat(api, max_completion_tokens=1)
