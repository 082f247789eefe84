"""Functions that answers call: by grammar, so that names and arguments are always right."""

import json
from typing import Any

import jsonschema
import openai
import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.server.calls import OWN, CallReader
from tests.server.conftest import Served
from tests.server.sse import events_of

HI = [{"role": "user", "content": "Hi"}]
CITY = {
    "$defs": {"city": {"enum": ["Paris", "Tōkyō"]}},
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/city"}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells it.", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
TOOLS = [WEATHER, CLOCK]
SAID = OWN.mark + '[{"name": "weather", "arguments": {"city": "Tōkyō", "days": 2}}, {"name": "clock", "arguments": {}}]'


def chat(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/chat/completions", json={"messages": HI, "tools": TOOLS, "seed": 1} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


def check(calls: list[dict[str, Any]]) -> None:
    for call in calls:
        arguments = json.loads(call["function"]["arguments"])
        jsonschema.validate(arguments, CITY if call["function"]["name"] == "weather" else {"maxProperties": 0})
        assert call["type"] == "function"
    assert len({call["id"] for call in calls}) == len(calls) > 0


def test_the_model_may_answer_or_call(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Hello [there]."
    choice = chat(api, temperature=0)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("Hello [there].", "stop")
    assert "tool_calls" not in choice["message"]
    served.model.says["Hi"] = SAID
    choice = chat(api, temperature=0)
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    first, second = choice["message"]["tool_calls"]
    assert first["function"] == {"name": "weather", "arguments": '{"city": "Tōkyō", "days": 2}'}
    assert second["function"] == {"name": "clock", "arguments": "{}"}
    check([first, second])


@pytest.mark.parametrize("seed", range(4))
def test_a_call_that_is_required_comes_and_is_right(api: TestClient, seed: int) -> None:
    limits = {"parallel_tool_calls": False, "seed": seed, "temperature": 1}
    (call,) = chat(api, tool_choice="required", **limits)["message"]["tool_calls"]
    check([call])
    named = {"type": "function", "function": {"name": "weather"}}
    (call,) = chat(api, tool_choice=named, **limits)["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    check([call])


def test_none_is_as_without(api: TestClient, served: Served) -> None:
    chat(api, tool_choice="none", max_completion_tokens=1)
    chat(api, tools=None, max_completion_tokens=1)
    chat(api, tools=[], tool_choice="auto", max_completion_tokens=1)
    assert all(prompt == served.tokenizer.encode_chat(HI) for prompt in served.model.prompts)


def test_the_model_is_told_of_functions_calls_and_results(api: TestClient, served: Served) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    said = [*HI, {"role": "assistant", "content": None, "tool_calls": [call]}]
    said.append({"role": "tool", "tool_call_id": "call_1", "content": "noon"})
    chat(api, messages=said, max_completion_tokens=1)
    text = served.tokenizer.decode(served.model.prompts[0])
    places = [
        text.index(part)
        for part in ('"name": "weather"', "Hi", OWN.mark + '[{"name": "clock", "arguments": {}}]', "noon")
    ]
    assert places == sorted(places)


@pytest.mark.parametrize("said", ["Hello there, [TOOL_CALLS] is a word.", "[", SAID])
def test_a_stream_is_the_same(api: TestClient, served: Served, said: str) -> None:
    served.model.says["Hi"] = said
    whole = chat(api, temperature=0, logprobs=True)
    body = {"messages": HI, "tools": TOOLS, "temperature": 0, "stream": True, "logprobs": True}
    choices = [event["choices"][0] for event in events_of(api.post("/v1/chat/completions", json=body).text)]
    deltas = [choice["delta"] for choice in choices]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert (deltas[-1], choices[-1]["finish_reason"]) == ({}, whole["finish_reason"])
    assert "".join(delta.get("content", "") for delta in deltas) == (whole["message"]["content"] or "")
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in calls] == list(range(len(calls)))
    expected = whole["message"].get("tool_calls", [])
    assert [call["function"] for call in calls] == [call["function"] for call in expected]
    told = [entry["token"] for choice in choices if choice["logprobs"] for entry in choice["logprobs"]["content"]]
    assert told == [entry["token"] for entry in whole["logprobs"]["content"]]


def test_calls_that_are_cut_off_are_text(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = SAID
    choice = chat(api, temperature=0, max_completion_tokens=12)
    assert choice["finish_reason"] == "length"
    assert SAID.startswith(choice["message"]["content"].strip())
    assert "tool_calls" not in choice["message"]


def test_text_is_held_back_only_while_it_may_be_a_call() -> None:
    reader = CallReader(OWN)
    assert [reader.feed(piece, False)[0] for piece in (" ", "[TO", "P", "OL")] == ["", "", " [TOP", "OL"]
    assert CallReader(OWN).feed("", True) == ("", [])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "nothing"}}}]}, "tools"),
        ({"tools": None, "tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "function": {"name": "nothing"}}}, "tool_choice"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "tools"),
        ({"messages": [*HI, {"role": "assistant", "content": None}]}, "messages"),
        ({"messages": [*HI, {"role": "tool", "tool_call_id": "x"}]}, "messages"),
    ],
    ids=str,
)
def test_what_does_not_go_together(api: TestClient, fields: dict[str, Any], param: str) -> None:
    answer = api.post("/v1/chat/completions", json={"messages": HI, "tools": TOOLS} | fields)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_the_openai_client_calls_and_answers(address: str, served: Served) -> None:
    served.model.says["Hi"] = OWN.mark + '[{"name": "clock", "arguments": {}}]'
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
        message = (
            client.chat.completions.create(model="mixtral", messages=HI, tools=[CLOCK], temperature=0)
            .choices[0]
            .message
        )
        assert message.tool_calls is not None
        results = [{"role": "tool", "tool_call_id": call.id, "content": "fine"} for call in message.tool_calls]
        del served.model.says["Hi"]
        served.model.says["fine"] = "It is fine."
        said = [*HI, message.model_dump(exclude_none=True), *results]
        last = client.chat.completions.create(model="mixtral", messages=said, tools=[CLOCK], temperature=0)
        assert last.choices[0].message.content == "It is fine."
