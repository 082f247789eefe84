"""Clients that leave, slow ones, and too many: over a socket."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.server.conftest import MOST_WAITING, Served

ENDLESS = {"prompt": "Once", "max_tokens": 500, "ignore_eos": True, "temperature": 0}


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("never")


def is_idle(served: Served) -> bool:
    stats = served.service.engine.stats()
    busy = stats.n_waiting + stats.n_prefilling + stats.n_decoding + stats.n_held_blocks + served.service.n_open
    return busy == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_row(http: httpx.Client, served: Served, stream: bool) -> None:
    for _ in range(3):
        served.model.gate.clear()
        with pytest.raises(httpx.TimeoutException):
            http.post("/v1/completions", json=ENDLESS | {"stream": stream}, timeout=0.2)
        before = served.model.n_steps
        until(lambda: served.service.n_open == 0)
        served.model.gate.set()
        until(lambda: is_idle(served))
        assert served.model.n_steps - before <= 1, "the one that was running"


def test_a_client_that_leaves_in_the_middle_of_a_stream(http: httpx.Client, served: Served) -> None:
    with http.stream("POST", "/v1/completions", json=ENDLESS | {"stream": True, "n": 4}) as answer:
        next(answer.iter_lines())
    until(lambda: is_idle(served))
    assert served.model.n_steps < 450
    text = httpx.get(f"{http.base_url}/metrics").text
    assert 'vllm:request_success_total{finished_reason="abort",model_name="mixtral"} 4.0' in text


def test_a_client_that_leaves_while_it_waits_changes_nothing_for_others(http: httpx.Client, served: Served) -> None:
    alone = http.post("/v1/completions", json=ENDLESS | {"max_tokens": 50}).json()["choices"]
    served.model.gate.clear()
    with ThreadPoolExecutor(60) as pool:
        stays = [pool.submit(http.post, "/v1/completions", json=ENDLESS | {"max_tokens": 50}) for _ in range(30)]
        until(lambda: served.service.n_open == 30)
        leaves = [pool.submit(http.post, "/v1/completions", json=ENDLESS, timeout=0.3) for _ in range(8)]
        for one in leaves:
            assert isinstance(one.exception(), httpx.TimeoutException)
        served.model.gate.set()
        assert all(one.result().json()["choices"] == alone for one in stays)
    until(lambda: is_idle(served))


def test_a_full_queue_refuses_at_once(http: httpx.Client, served: Served) -> None:
    served.model.gate.clear()
    n = MOST_WAITING
    first = threading.Thread(target=lambda: http.post("/v1/completions", json=ENDLESS | {"max_tokens": 1}))
    first.start()
    assert served.model.reached.wait(20)
    many = {"prompt": [[5]] * n, "max_tokens": 1}
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(http.post, "/v1/completions", json=many)
        until(lambda: served.service.engine.stats().n_waiting + n_arrived(served) >= n)
        for stream in (False, True):
            refused = http.post("/v1/completions", json={"prompt": "x", "stream": stream}, timeout=5)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert refused.json()["error"]["code"] == "queue_full"
        served.model.gate.set()
        assert waiting.result().status_code == 200
    first.join()
    assert http.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200


def n_arrived(served: Served) -> int:
    return len(served.service.engine._arrived)


def test_what_is_refused_in_the_middle_takes_the_rest_with_it(http: httpx.Client, served: Served) -> None:
    served.model.gate.clear()
    first = threading.Thread(target=lambda: http.post("/v1/completions", json=ENDLESS | {"max_tokens": 1}))
    first.start()
    assert served.model.reached.wait(20)  # from here on the engine takes none into rows
    refused = http.post("/v1/completions", json={"prompt": [[5]] * (MOST_WAITING + 10), "max_tokens": 400})
    assert refused.status_code == 429
    served.model.gate.set()
    first.join()
    until(lambda: is_idle(served))
    assert served.model.n_steps < 300


def test_a_slow_reader_holds_up_nobody(http: httpx.Client, served: Served) -> None:
    with http.stream("POST", "/v1/completions", json=ENDLESS | {"stream": True}) as slow:
        lines = slow.iter_lines()
        next(lines)
        quick = [http.post("/v1/completions", json=ENDLESS | {"max_tokens": 20}) for _ in range(3)]
        assert all(one.json()["usage"]["completion_tokens"] == 20 for one in quick)
        assert sum('"finish_reason":"length"' in line for line in lines) == 1


def test_events_come_while_the_answer_is_made(http: httpx.Client, served: Served) -> None:
    fields: dict[str, Any] = {"prompt": "Once", "max_tokens": 3, "ignore_eos": True, "stream": True}
    seen = threading.Event()
    read = served.model.read_tokens

    def wait_then_read() -> list[int]:
        assert seen.wait(20), "the first event is held back"
        return read()

    served.model.read_tokens = wait_then_read  # type: ignore[method-assign]
    served.model.says["Once"] = "and only once"
    with http.stream("POST", "/v1/completions", json=fields) as answer:
        lines = answer.iter_lines()
        assert next(lines).startswith("data: {")
        seen.set()
        assert list(lines)[-2:] == ["data: [DONE]", ""]
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
