"""Which experts drew each token, for those who ask: beside the text, in both forms, streamed and not."""

from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.engine.model import ExpertSizes
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.server.conftest import Served, serving
from tests.server.sse import events_of
from tests.server.stub import TextModel

SIZES = ExpertSizes(layers=3, experts=8, per_token=2)
HI = [{"role": "user", "content": "Hi"}]
SAID = "Bonjour, 日本 and 😀!"


@pytest.fixture
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    with serving(TextModel(tokenizer, experts=SIZES), tokenizer) as served:
        served.model.says["Hi"] = SAID
        yield served


def check(found: Sequence[dict[str, Any]], served: Served, prompt: Sequence[int], echo: str | None = None) -> None:
    """The places and experts are those of the ids; the first token is a pass's. echo: the prompt, where it is told."""
    ids, answer = list(prompt), served.tokenizer.answer(after=[] if echo is None else prompt)
    for n, one in enumerate(found):
        answer.push(one["id"])
        assert one["layers"] == (served.model.chosen(ids) if n else None)
        assert one["text_offset"] == len(echo or "") + answer.offsets[-1]
        ids.append(one["id"])


def test_of_a_chat_streamed_and_not(api: TestClient, served: Served) -> None:
    fields = {"messages": HI, "temperature": 0, "experts": True}
    (choice,) = api.post("/v1/chat/completions", json=fields).json()["choices"]
    found, prompt = choice["experts"], served.tokenizer.encode_chat(HI)
    assert [one["id"] for one in found] == [*served.tokenizer.encode(SAID, bos=False), served.tokenizer.eos_id]
    check(found, served, prompt)
    joined = b"".join(
        bytes.fromhex(one["token"][len("bytes:") :].replace("\\x", ""))
        if one["token"].startswith("bytes:")
        else one["token"].encode()
        for one in found[:-1]
    )
    assert joined.decode().strip() == SAID
    events = events_of(api.post("/v1/chat/completions", json=fields | {"stream": True}).text)
    pieces, streamed = "", list[dict[str, Any]]()
    for event in events:
        (choice,) = event["choices"]
        streamed += choice["experts"]
        pieces += choice["delta"].get("content", "")
        assert all(one["text_offset"] <= len(pieces) for one in streamed), "a token comes no later than its text"
    assert (pieces, streamed) == (SAID, found)


def test_text_offsets_cut_the_text_into_tokens(api: TestClient, served: Served) -> None:
    """Each token's text is what its offset and the next one's enclose; an unfinished character has none yet."""
    fields = {"messages": HI, "temperature": 0, "experts": True}
    (choice,) = api.post("/v1/chat/completions", json=fields).json()["choices"]
    offsets = [one["text_offset"] for one in choice["experts"]]
    assert offsets == sorted(offsets)
    names = [one["token"] for one in choice["experts"]]
    for name, start, end in zip(names, offsets, offsets[1:], strict=False):
        cut = SAID[start:end]
        assert cut.strip() == name.strip() or name.startswith("bytes:")
        assert not name.startswith("bytes:") or len(cut) <= 1


@pytest.mark.parametrize("stream", [False, True])
def test_of_several_choices_and_an_echo(api: TestClient, served: Served, stream: bool) -> None:
    """The prompt's tokens are in the text, and not among those that experts are told of."""
    fields = {"prompt": "Once", "n": 3, "seed": 1, "max_tokens": 5, "echo": True, "logprobs": 0, "experts": True}
    answer = api.post("/v1/completions", json=fields | {"stream": stream})
    choices = [event["choices"][0] for event in events_of(answer.text)] if stream else answer.json()["choices"]
    prompt = served.tokenizer.encode("Once")
    for index in range(3):
        found = [one for choice in choices if choice["index"] == index for one in choice["experts"]]
        assert len(found) == 5
        check(found, served, prompt, "Once")


def test_tokens_by_their_ids(api: TestClient) -> None:
    fields = {"prompt": "Once", "experts": True, "return_tokens_as_token_ids": True, "max_tokens": 2}
    (choice,) = api.post("/v1/completions", json=fields).json()["choices"]
    assert [one["token"] for one in choice["experts"]] == [f"token_id:{one['id']}" for one in choice["experts"]]


def test_who_does_not_ask_is_told_nothing(api: TestClient) -> None:
    for fields in ({}, {"experts": False}, {"experts": None}):
        (choice,) = api.post("/v1/completions", json={"prompt": "Once", "max_tokens": 2} | fields).json()["choices"]
        assert "experts" not in choice


def test_the_sizes_are_told_of_the_model(api: TestClient) -> None:
    assert api.get("/v1/models").json()["data"][0]["experts"] == {"layers": 3, "experts": 8, "per_token": 2}


def test_a_server_that_notes_none_refuses(tokenizer: Tokenizer) -> None:
    with serving(TextModel(tokenizer), tokenizer) as plain, TestClient(plain.app) as api:
        assert api.get("/v1/models/mixtral").json()["experts"] is None
        for path, fields in (("completions", {"prompt": "x"}), ("chat/completions", {"messages": HI})):
            refused = api.post(f"/v1/{path}", json=fields | {"experts": True})
            assert refused.status_code == 400
            error = refused.json()["error"]
            assert (error["param"], error["code"]) == ("experts", "unsupported_parameter")
            assert error["message"] == (
                "experts are asked for, which this server does not note; start it with --experts, or leave it out"
            )


def test_a_response_refuses(api: TestClient) -> None:
    refused = api.post("/v1/responses", json={"input": "Hi", "experts": True})
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "experts")
    assert api.post("/v1/completions", json={"prompt": "x", "experts": "yes"}).status_code == 400


def test_the_openai_client(address: str) -> None:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0, timeout=60) as client:
        asked: dict[str, Any] = {"model": "mixtral", "messages": HI, "extra_body": {"experts": True}}
        answer = client.chat.completions.create(**asked)
        assert answer.choices[0].message.content == SAID
        chunks = list(client.chat.completions.create(**asked, stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == SAID
    streamed = [one for chunk in chunks for one in chunk.choices[0].model_extra["experts"]]
    assert streamed == answer.choices[0].model_extra["experts"]
    assert len(streamed[-1]["layers"]) == 3
