"""The `openai` package, against a real server: what its users do."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Annotated, Literal

import openai
import pytest
from pydantic import BaseModel, Field

from tests.server.conftest import MOST_WAITING, Served
from tests.server.test_leaving import ENDLESS, until

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def test_chats(client: openai.OpenAI, served: Served) -> None:
    served.model.says["Hi"] = "Bonjour, 日本 😀."
    answer = client.chat.completions.create(model="mixtral", messages=HI, temperature=0)
    assert answer.choices[0].message.content == "Bonjour, 日本 😀."
    assert answer.usage is not None
    stream = client.chat.completions.create(
        model="mixtral", messages=HI, stream=True, stream_options={"include_usage": True}
    )
    *chunks, last = stream
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Bonjour, 日本 😀."
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert last.usage == answer.usage


def test_completions_with_logprobs(client: openai.OpenAI) -> None:
    answer = client.completions.create(model="mixtral", prompt=["a", "b"], n=2, max_tokens=3, logprobs=2, echo=True)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    for choice in answer.choices:
        found = choice.logprobs
        assert found is not None
        assert len(found.tokens) == len(found.token_logprobs) == len(found.top_logprobs) == len(found.text_offset)
    chat = client.chat.completions.create(
        model="mixtral", messages=HI, logprobs=True, top_logprobs=3, max_completion_tokens=4
    )
    content = chat.choices[0].logprobs.content
    assert all(len(entry.top_logprobs) == 3 for entry in content)


class Person(BaseModel):
    name: Literal["Ann", "Bob"]
    age: Annotated[int, Field(ge=0, le=99)]


def test_answers_of_a_class(client: openai.OpenAI) -> None:
    parsed = client.chat.completions.parse(model="mixtral", messages=HI, response_format=Person, seed=2)
    assert isinstance(parsed.choices[0].message.parsed, Person)
    response = client.responses.parse(model="mixtral", input="Hi", text_format=Person)
    assert isinstance(response.output_parsed, Person)


def test_responses(client: openai.OpenAI, served: Served) -> None:
    served.model.says["Hi"] = "Bonjour, 日本 😀."
    response = client.responses.create(model="mixtral", input="Hi", temperature=0)
    assert (response.output_text, response.status) == ("Bonjour, 日本 😀.", "completed")
    *events, last = client.responses.create(model="mixtral", input="Hi", temperature=0, stream=True)
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == last.response.output_text == response.output_text
    assert last.response.usage == response.usage


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["mixtral"]
    assert client.models.retrieve("mixtral").id == "mixtral"


def test_errors_have_their_classes(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model"):
        client.completions.create(model="gpt", prompt="x")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="mixtral", prompt="x", temperature=5)
    assert (caught.value.param, caught.value.type) == ("temperature", "invalid_request_error")
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="mixtral", prompt="x", max_tokens=5000, stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_an_error_in_a_stream_is_raised(client: openai.OpenAI, served: Served) -> None:
    word = served.tokenizer.token_bytes(300).decode()
    stream = client.completions.create(
        model="mixtral",
        prompt="x",
        stream=True,
        max_tokens=9,
        extra_body={"allowed_token_ids": [300], "bad_words": [word + word]},
    )
    assert next(iter(stream)).choices[0].text.strip() == word
    with pytest.raises(openai.APIError, match="no token could be drawn"):
        list(stream)


def test_a_full_queue_is_tried_again(client: openai.OpenAI, served: Served) -> None:
    served.model.gate.clear()
    crowd = {**ENDLESS, "model": "mixtral", "prompt": [[5]] * MOST_WAITING, "max_tokens": 1}
    crowd = {key: crowd[key] for key in ("model", "prompt", "max_tokens", "temperature")}
    first = threading.Thread(target=client.completions.create, kwargs={**crowd, "prompt": "x"})
    first.start()
    assert served.model.reached.wait(20)
    waiting = threading.Thread(target=client.completions.create, kwargs=crowd)
    waiting.start()
    engine = served.service.engine
    until(lambda: engine.stats().n_waiting + len(engine._arrived) >= MOST_WAITING)
    with pytest.raises(openai.RateLimitError):
        client.completions.create(model="mixtral", prompt="x")
    threading.Timer(0.3, served.model.gate.set).start()
    patient = client.with_options(max_retries=5)
    assert patient.completions.create(model="mixtral", prompt="x", max_tokens=1).usage is not None
    first.join()
    waiting.join()


def test_thirty_two_at_once(address: str, served: Served) -> None:
    """Streams and whole answers, of all kinds: greedy and seeded ones are what they are alone."""
    kinds = [{"temperature": 0}, {"temperature": 1, "seed": 7}, {"temperature": 0.7, "seed": 7, "top_p": 0.9}]
    kinds += [
        {"temperature": 0, "logprobs": True, "top_logprobs": 2},
        {"temperature": 1, "presence_penalty": 1.5, "seed": 3},
    ]

    async def ask(client: openai.AsyncOpenAI, number: int) -> str:
        fields = {"model": "mixtral", "messages": HI, "max_completion_tokens": 12, **kinds[number % len(kinds)]}
        if number % 2:
            stream = await client.chat.completions.create(**fields, stream=True)  # type: ignore[call-overload]
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        answer = await client.chat.completions.create(**fields)  # type: ignore[call-overload]
        return answer.choices[0].message.content

    async def run() -> tuple[list[str], list[str]]:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
            alone = [await ask(client, number) for number in range(len(kinds))]
            return alone, await asyncio.gather(*(ask(client, number) for number in range(32)))

    alone, together = asyncio.run(run())
    assert together == [alone[number % len(kinds)] for number in range(32)]
    assert len(set(alone)) >= 3
