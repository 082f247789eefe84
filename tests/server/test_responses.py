"""/v1/responses in its text form."""

import json
from typing import Any

import jsonschema
import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Served

PATH = "/v1/responses"


def respond(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post(PATH, json={"input": "Hi", "temperature": 0} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(api: TestClient, **fields: Any) -> list[dict[str, Any]]:
    body = api.post(PATH, json={"input": "Hi", "temperature": 0, "stream": True} | fields).text
    *blocks, rest = body.split("\n\n")
    assert rest == ""
    found = []
    for block in blocks:
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    assert [event["sequence_number"] for event in found] == list(range(len(found)))
    return found


def test_the_whole_answer(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Hello there."
    told = respond(api, metadata={"a": "b"}, instructions="Be kind.", store=True)
    (item,) = told["output"]
    (content,) = item["content"]
    assert content == {"type": "output_text", "text": "Hello there.", "annotations": [], "logprobs": []}
    assert (item["type"], item["role"], item["status"]) == ("message", "assistant", "completed")
    expected = {
        "object": "response",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "instructions": "Be kind.",
        "metadata": {"a": "b"},
        "model": "mixtral",
        "store": False,
        "temperature": 0,
        "tools": [],
        "text": {"format": {"type": "text"}},
    }
    assert expected.items() <= told.items()
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    ids = served.tokenizer.encode_chat(messages)
    assert served.model.prompts == [ids]
    usage = told["usage"]
    assert usage["input_tokens"] == len(ids)
    assert usage["total_tokens"] == len(ids) + usage["output_tokens"]


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": "Hi"}],
        [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}],
    ],
)
def test_an_input_of_messages(api: TestClient, messages: Any) -> None:
    assert respond(api, input=messages)["output"][0]["content"] == respond(api)["output"][0]["content"]


def test_one_that_is_cut_off(api: TestClient) -> None:
    told = respond(api, max_output_tokens=3, ignore_eos=True)
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert told["usage"]["output_tokens"] == 3
    assert events(api, max_output_tokens=3, ignore_eos=True)[-1]["type"] == "response.incomplete"


def test_a_stream_is_the_same(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Bonjour, 日本 and 😀!"
    whole, found = respond(api, top_logprobs=2), events(api, top_logprobs=2)
    kinds = [event["type"].removeprefix("response.") for event in found]
    n = kinds.count("output_text.delta")
    first = ["created", "in_progress", "output_item.added", "content_part.added"]
    last = ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert kinds == [*first, *["output_text.delta"] * n, *last]
    deltas = found[4 : 4 + n]
    assert "".join(event["delta"] for event in deltas) == "Bonjour, 日本 and 😀!"
    content = whole["output"][0]["content"][0]
    assert found[-1]["response"]["output"][0]["content"] == [content]
    assert found[-1]["response"]["usage"] == whole["usage"] | {
        "input_tokens_details": found[-1]["response"]["usage"]["input_tokens_details"]
    }
    assert content["logprobs"][: len(deltas)]
    assert all(len(entry["top_logprobs"]) == 2 for entry in content["logprobs"])
    assert {event["response"]["id"] for event in found if "response" in event} == {found[0]["response"]["id"]}


def test_json(api: TestClient) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"enum": ["x", "y"]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "n", "schema": schema, "strict": True}
    told = respond(api, text={"format": form}, temperature=1)
    jsonschema.validate(json.loads(told["output"][0]["content"][0]["text"]), schema)
    assert told["text"]["format"]["schema"] == schema


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": None}, "input"),
        ({"input": 5}, "input"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"background": True}, "background"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"reasoning": {"effort": "high"}}, "reasoning"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["file_search_call.results"]}, "include"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"n": 2}, "n"),
        ({"text": {"format": {"type": "json_schema", "schema": {"type": "x"}}}}, "text"),
    ],
    ids=str,
)
def test_what_is_not_offered(api: TestClient, fields: dict[str, Any], param: str) -> None:
    answer = api.post(PATH, json={"input": "Hi"} | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_an_error_after_the_beginning_is_the_last_event(api: TestClient, served: Served) -> None:
    word = served.tokenizer.token_bytes(300).decode()
    found = events(api, allowed_token_ids=[300], bad_words=[word + word])
    assert found[-1]["type"] == "error"
    assert "no token could be drawn" in found[-1]["message"]
