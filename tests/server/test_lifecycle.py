"""A server's start and end: in this process over the stub, and once as its own process over the tiny checkpoint."""

import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from models.mixtral8x7b.engine import watchdog
from models.mixtral8x7b.server import lifecycle
from models.mixtral8x7b.server.lifecycle import AddressError, Server, bound_socket
from tests.server.conftest import Served
from tests.server.process import serving_process
from tests.server.test_leaving import ENDLESS, until

SOME = ENDLESS | {"max_tokens": 30}


class Running:
    """A server in a thread."""

    def __init__(self, served: Served, drain_s: float = 20) -> None:
        ready = threading.Event()
        self._socket = bound_socket("127.0.0.1", 0)
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.server = Server(served.service, self._socket, drain_s, ready.set)
        self.failures: list[str | None] = []
        self.thread = threading.Thread(target=lambda: self.failures.append(self.server.run()))
        self.thread.start()
        assert ready.wait(20)

    def post(self) -> httpx.Response:
        return httpx.post(f"{self.address}/v1/completions", json=SOME, timeout=60)

    def health(self) -> int:
        return httpx.get(f"{self.address}/health").status_code

    def ended(self) -> str | None:
        self.thread.join(20)
        assert not self.thread.is_alive()
        self._socket.close()
        (failure,) = self.failures
        return failure


@pytest.fixture
def running(served: Served) -> Iterator[Running]:
    running = Running(served)
    yield running
    served.model.gate.set()
    running.server.stop()
    running.server.stop()
    running.thread.join(20)


def test_who_is_answered_when_it_is_stopped_has_the_whole_answer(running: Running, served: Served) -> None:
    alone = running.post().json()["choices"]
    served.model.gate.clear()
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(running.post) for _ in range(3)]
        until(lambda: served.service.n_open == 3)
        running.server.stop()
        assert running.health() == 503
        refused = running.post()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "unavailable"
        assert running.thread.is_alive()
        served.model.gate.set()
        assert all(one.result().json()["choices"] == alone for one in asked)
    assert running.ended() is None


def test_who_takes_too_long_is_cut_off(served: Served) -> None:
    running = Running(served, drain_s=0.2)
    served.model.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(running.post)
        until(lambda: served.service.n_open == 1)
        running.server.stop()
        assert running.ended() is None
        assert asked.exception() is not None or asked.result().status_code >= 500
        served.model.gate.set()


def test_a_model_that_hangs_is_told_to_all_and_ends_the_server(
    running: Running, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.post()
    monkeypatch.setattr(watchdog, "TIMES_USUAL", 0)
    monkeypatch.setattr(watchdog, "LEAST_S", 1.0)
    monkeypatch.setattr(lifecycle, "UNHEALTHY_S", 1.0)
    served.model.gate.clear()
    start = time.monotonic()
    answers = running.post()
    assert answers.status_code == 503
    assert "has not ended in time" in answers.json()["error"]["message"]
    assert running.health() == 503
    assert "has not ended in time" in (running.ended() or "")
    assert time.monotonic() - start < 15


def test_an_address_that_is_taken_is_known_at_once() -> None:
    with bound_socket("127.0.0.1", 0) as one:
        one.listen()
        with pytest.raises(AddressError, match="in use"):
            bound_socket("127.0.0.1", one.getsockname()[1])
    with pytest.raises(AddressError, match="no.such.host.invalid port 1 cannot be had"):
        bound_socket("no.such.host.invalid", 1)
    assert bound_socket("localhost", 0).family in (socket.AF_INET, socket.AF_INET6)


@pytest.fixture(scope="module")
def tiny_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen, str]]:
    with serving_process(tmp_path_factory.mktemp("serve"), "--experts") as served:
        yield served


def test_the_tiny_checkpoint_answers_and_sigterm_ends_it(tiny_server: tuple[subprocess.Popen, str]) -> None:
    process, address = tiny_server
    with openai.OpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
        (model,) = client.models.list()
        assert model.model_dump()["max_model_len"] == 4096
        messages = [{"role": "user", "content": "What is the capital of France?"}]
        chat = client.chat.completions.create(model="mixtral", messages=messages, temperature=0)
        assert "Paris" in (chat.choices[0].message.content or "")
        chunks = list(
            client.chat.completions.create(
                model="mixtral", messages=messages, temperature=0, stream=True, extra_body={"experts": True}
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        assert text == chat.choices[0].message.content
        first, *told = [one["layers"] for chunk in chunks for one in (chunk.choices[0].model_extra or {})["experts"]]
        assert (first, len(told)) == (None, chat.usage.completion_tokens - 1)
        assert {len(chosen) for layers in told for chosen in layers} == {2}
        scored = client.completions.create(
            model="mixtral", prompt="The capital of France", max_tokens=1, logprobs=1, echo=True, temperature=0
        ).choices[0]
        assert scored.logprobs is not None
        values, tops = scored.logprobs.token_logprobs, scored.logprobs.top_logprobs
        assert all(
            value is not None and value <= max(top.values()) for value, top in zip(values[1:], tops[1:], strict=True)
        )
        assert values[-1] == max(tops[-1].values()), "greedy, bit for bit"
        stream = client.completions.create(
            model="mixtral", prompt="x", max_tokens=10, stream=True, temperature=0, extra_body={"ignore_eos": True}
        )
        next(iter(stream))
        process.send_signal(signal.SIGTERM)
        *_, last = stream
        assert last.choices[0].finish_reason == "length"
    assert process.wait(30) == 0
