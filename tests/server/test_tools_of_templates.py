"""Functions in the form of the checkpoint's own chat template: told, called, and answered, by OpenAI's client."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.tokenizer import Tokenizer
from tests.server.conftest import Served, listening, serving
from tests.server.sse import events_of
from tests.server.stub import TextModel
from tests.server.test_tools import CLOCK, HI, TOOLS, chat, check
from tests.tokenizer.makers import CHATML_TOOLS, V3, V3_TOOLS, hugging_face

FUNCTIONS = [{"name": "weather", "arguments": {"city": "Tōkyō", "days": 2}}, {"name": "clock", "arguments": {}}]


@pytest.fixture(scope="module", params=["v3", "v3's template", "chatml"])
def tools_tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tools")
    if request.param == "v3":
        return Tokenizer(V3)
    if request.param == "chatml":
        marks = ("<|im_end|>", "<|im_start|>", "<tool_call>", "</tool_call>")
        return Tokenizer(hugging_face(folder, template=CHATML_TOOLS, special=marks, eos_token="<|im_end|>"))
    (folder / "tokenizer.model").write_bytes(V3.read_bytes())
    (folder / "chat_template.jinja").write_text(V3_TOOLS)
    return Tokenizer(folder)


@pytest.fixture
def served(tools_tokenizer: Tokenizer) -> Iterator[Served]:
    with serving(TextModel(tools_tokenizer, max_context=1024), tools_tokenizer) as served:
        yield served


def said(tokenizer: Tokenizer, functions: list[dict[str, Any]] = FUNCTIONS, ids: tuple[str, ...] = ()) -> list[int]:
    """What the model was trained to say: calls, in its template's form."""
    form = tokenizer.call_form
    assert form is not None
    calls = []
    for number, one in enumerate(functions):
        arguments = json.dumps(one["arguments"], ensure_ascii=False)
        given = ids[number].join(form.around_id) if ids and form.around_id else ""
        calls.append(one["name"] + form.inside + arguments + given)
    text = form.begin + (form.between or "").join(calls) + form.end
    parts = tokenizer.parts(text)
    return [i for part in parts for i in ([part] if isinstance(part, int) else tokenizer.encode_inside(part))]


def test_calls_are_read_out_of_the_templates_form(api: TestClient, served: Served) -> None:
    tokenizer = served.tokenizer
    served.model.says["Hi"] = said(tokenizer)
    choice = chat(api, temperature=0)
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")
    calls = choice["message"]["tool_calls"]
    check(calls)
    assert [call["function"]["name"] for call in calls] == ["weather", "clock"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [one["arguments"] for one in FUNCTIONS]
    assert all(len(call["id"]) == 9 and call["id"].isalnum() for call in calls)
    assert served.model.prompts[0] == tokenizer.encode_chat(HI, TOOLS)
    served.model.says["Hi"] = "Hello [there]."
    assert chat(api, temperature=0)["message"]["content"] == "Hello [there]."
    assert chat(api, temperature=0, tools=None)["message"]["content"] == "Hello [there]."
    assert served.model.prompts[-1] == tokenizer.encode_chat(HI)


def test_an_id_that_the_model_gives_counts(api: TestClient, served: Served) -> None:
    ids = ("abcDEF123", "000000000")
    served.model.says["Hi"] = said(served.tokenizer, ids=ids)
    calls = chat(api, temperature=0)["message"]["tool_calls"]
    given = [call["id"] for call in calls]
    form = served.tokenizer.call_form
    assert form is not None
    assert given == list(ids) if form.around_id else len(set(given)) == 2


@pytest.mark.parametrize("seed", range(2))
def test_a_call_that_is_required_comes_and_is_right(api: TestClient, seed: int) -> None:
    """Whatever the model likes."""
    (call,) = chat(api, tool_choice="required", parallel_tool_calls=False, seed=seed)["message"]["tool_calls"]
    check([call])
    named = {"type": "function", "function": {"name": "clock"}}
    (call,) = chat(api, tool_choice=named, seed=seed)["message"]["tool_calls"]
    assert call["function"] == {"name": "clock", "arguments": "{}"}


def test_a_stream_is_the_same(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = said(served.tokenizer)
    body = {"messages": HI, "tools": TOOLS, "temperature": 0, "stream": True}
    choices = [event["choices"][0] for event in events_of(api.post("/v1/chat/completions", json=body).text)]
    deltas = [choice["delta"] for choice in choices]
    assert "".join(delta.get("content") or "" for delta in deltas) == ""
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["name"] for call in calls] == ["weather", "clock"]
    assert choices[-1]["finish_reason"] == "tool_calls"


def test_calls_that_are_cut_off_are_text(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = said(served.tokenizer)
    choice = chat(api, temperature=0, max_completion_tokens=6)
    assert choice["finish_reason"] == "length"
    form = served.tokenizer.call_form
    assert form is not None
    assert choice["message"]["content"].startswith(form.mark)
    assert "tool_calls" not in choice["message"]


def test_the_openai_client_calls_and_answers(served: Served) -> None:
    """What functions returned is put before the model as its template has it."""
    served.model.says["Hi"] = said(served.tokenizer)
    with (
        listening(served.app) as address,
        openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        ask = {"model": "mixtral", "tools": TOOLS, "temperature": 0}
        message = client.chat.completions.create(messages=HI, **ask).choices[0].message
        assert message.tool_calls is not None
        results = [
            {"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} is fine"}
            for call in message.tool_calls
        ]
        del served.model.says["Hi"]
        served.model.says["clock is fine"] = "All is fine."
        history = [*HI, message.model_dump(exclude_none=True), *results]
        assert client.chat.completions.create(messages=history, **ask).choices[0].message.content == "All is fine."
    calls = [
        {"id": call.id, "type": "function", "function": function}
        for call, function in zip(message.tool_calls, FUNCTIONS, strict=True)
    ]
    told = [*HI, {"role": "assistant", "content": "", "tool_calls": calls}, *results]
    assert served.model.prompts[-1] == served.tokenizer.encode_chat(told, TOOLS)
    text = "".join(served.tokenizer.token_bytes(i).decode("utf-8", "replace") for i in served.model.prompts[-1])
    form = served.tokenizer.call_form
    assert form is not None
    assert text.index(form.mark) < text.index("clock is fine")


def with_arguments(api: TestClient, arguments: str) -> httpx.Response:
    call = {"id": "abcdefghi", "type": "function", "function": {"name": "clock", "arguments": arguments}}
    history = [*HI, {"role": "assistant", "tool_calls": [call]}, *HI]
    return api.post("/v1/chat/completions", json={"messages": history, "max_tokens": 1})


@pytest.mark.parametrize("arguments", ["{", "[1]", '"x"'])
def test_arguments_that_no_template_takes_are_a_400(api: TestClient, arguments: str) -> None:
    answer = with_arguments(api, arguments)
    assert answer.status_code == 400
    assert "no JSON object" in answer.json()["error"]["message"]


@pytest.mark.parametrize("depth", [3, 2000])
def test_arguments_of_any_depth_are_answered_or_a_400(api: TestClient, depth: int) -> None:
    answer = with_arguments(api, '{"a":' + depth * "[" + depth * "]" + "}")
    assert answer.status_code in ((200,) if depth == 3 else (200, 400)), answer.text


def test_an_id_that_the_template_refuses_is_a_400(api: TestClient, served: Served) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    history = [
        *HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "x"},
    ]
    body = {"messages": history, "tools": [CLOCK], "max_tokens": 1}
    answer = api.post("/v1/chat/completions", json=body)
    refuses = "length 9" in (served.tokenizer.chat_template or "")
    assert answer.status_code == (400 if refuses else 200)
    if refuses:
        assert "length 9" in answer.json()["error"]["message"]
