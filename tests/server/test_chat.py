"""/v1/chat/completions: what is asked for is what comes."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Served
from tests.server.sse import events_of

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]


def chat(api: TestClient, messages: Any = HI, **fields: Any) -> dict[str, Any]:
    answer = api.post(PATH, json={"messages": messages, "temperature": 0} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_whole_answer(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Hello there."
    answer = chat(api)
    assert answer["object"] == "chat.completion"
    (choice,) = answer["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello there.", "refusal": None}
    assert (choice["finish_reason"], choice["logprobs"]) == ("stop", None)
    assert answer["usage"]["prompt_tokens"] == len(served.tokenizer.encode_chat(HI))


def test_a_stream_has_a_role_then_pieces_then_an_end(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Bonjour, 日本 and 😀!"
    body = api.post(PATH, json={"messages": HI, "stream": True}).text
    events = events_of(body)
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({(event["id"], event["created"], event["model"]) for event in events}) == 1
    assert not any("usage" in event for event in events)
    first, *middle, last = [event["choices"][0] for event in events]
    assert first["delta"] == {"role": "assistant", "content": ""}
    assert (last["delta"], last["finish_reason"]) == ({}, "stop")
    assert [choice["finish_reason"] for choice in (first, *middle)] == [None] * (len(events) - 1)
    assert all(set(choice["delta"]) == {"content"} and choice["delta"]["content"] for choice in middle)
    assert "".join(choice["delta"]["content"] for choice in middle) == "Bonjour, 日本 and 😀!"
    assert "\ufffd" not in body


def test_several_choices_in_one_stream(api: TestClient) -> None:
    fields = {"messages": HI, "n": 3, "seed": 1, "max_tokens": 9}
    whole = [choice["message"]["content"] for choice in chat(api, **fields, temperature=1)["choices"]]
    events = events_of(api.post(PATH, json=fields | {"stream": True, "temperature": 1}).text)
    for index, text in enumerate(whole):
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert mine[0]["delta"] == {"role": "assistant", "content": ""}
        assert "".join(choice["delta"].get("content", "") for choice in mine) == text
        assert mine[-1]["delta"] == {}


def test_exactly_one_bos(api: TestClient, served: Served) -> None:
    chat(api, max_tokens=1)
    (prompt,) = served.model.prompts
    assert prompt.count(served.tokenizer.bos_id) == 1
    assert prompt == served.tokenizer.encode_chat(HI)


@pytest.mark.parametrize(
    ("messages", "same_as"),
    [
        ([{"role": "user", "content": [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]}], HI),
        ([{"role": "developer", "content": "Be short."}, *HI], [{"role": "system", "content": "Be short."}, *HI]),
        ([{"role": "user", "content": "Hi", "name": "me"}], HI),
    ],
)
def test_messages_that_say_the_same(api: TestClient, served: Served, messages: Any, same_as: Any) -> None:
    chat(api, messages, max_tokens=1)
    chat(api, same_as, max_tokens=1)
    one, other = served.model.prompts
    assert one == other


def test_system_prompts_and_repeated_roles_are_taken(api: TestClient, served: Served) -> None:
    system, user = {"role": "system", "content": "Be short."}, {"role": "user", "content": "One."}
    said = [system, user, *HI, {"role": "assistant", "content": "Yes?"}, user]
    assert chat(api, said, max_tokens=1)["usage"]["prompt_tokens"] == len(served.tokenizer.encode_chat(said))


def test_most_tokens(api: TestClient) -> None:
    def n(**fields: Any) -> int:
        return chat(api, ignore_eos=True, **fields)["usage"]["completion_tokens"]

    assert n(max_tokens=5) == 5
    assert n(max_completion_tokens=6) == 6
    assert n(max_tokens=5, max_completion_tokens=7) == 7
    answer = chat(api, ignore_eos=True)
    assert answer["usage"]["total_tokens"] == 512, "the rest of the context"
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("field", ["functions", "audio", "web_search_options", "chat_template"])
def test_what_would_change_the_answer_is_refused_by_name(api: TestClient, field: str) -> None:
    answer = api.post(PATH, json={"messages": HI, field: ["x"]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field


def test_what_is_unknown_is_told_once(api: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        chat(api, max_tokens=1, metadata={"a": "b"}, store=True, user="me", frobnicate=3)
    assert [record.message.split("'")[1] for record in caplog.records] == ["metadata", "store", "user", "frobnicate"]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        None,
        "Hi",
        [{"role": "robot", "content": "Hi"}],
        [{"role": "user"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [*HI, {"role": "assistant", "content": "x"}],
        [{"role": "user", "content": chr(0xD800)}],
    ],
)
def test_what_is_no_chat(api: TestClient, messages: Any) -> None:
    content = json.dumps({"messages": messages})
    answer = api.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_the_last_message_is_continued(api: TestClient, served: Served) -> None:
    said = [*HI, {"role": "assistant", "content": "It is"}]
    served.model.says["It is"] = served.tokenizer.encode_inside(" fine.")
    answer = chat(api, said, continue_final_message=True, add_generation_prompt=False)
    assert answer["choices"][0]["message"]["content"] == " fine."
    assert served.model.prompts[-1] == served.tokenizer.encode_chat(said, continue_final_message=True)
    chat(api, said, add_generation_prompt=False, max_tokens=1)
    assert served.model.prompts[-1] == served.tokenizer.encode_chat(said, add_generation_prompt=False)
    chat(api, continue_final_message=False, add_generation_prompt=True, max_tokens=1)
    assert served.model.prompts[-1] == served.tokenizer.encode_chat(HI)
    for wrong in ({"messages": said}, {"messages": HI, "continue_final_message": True}):
        refused = api.post(PATH, json=wrong).json()["error"]
        assert "has the last word" in refused["message"]
    both = {"messages": said, "continue_final_message": True, "add_generation_prompt": True}
    assert api.post(PATH, json=both).json()["error"]["param"] == "continue_final_message"
