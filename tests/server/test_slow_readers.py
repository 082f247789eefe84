"""Clients that read slowly or not at all: what the others notice, and what becomes of those."""

import gc
import json
import socket
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from models.mixtral8x7b.server import lifecycle
from models.mixtral8x7b.server.lifecycle import Server, bound_socket
from tests.server.conftest import Served
from tests.server.test_leaving import ENDLESS, is_idle, until

LONG = ENDLESS | {"max_tokens": 400, "stream": True, "logprobs": 20}  # events of 2 kB
SMALLEST_BUFFER = 2304  # bytes, about the least that Linux gives


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    """Of a server whose system holds little back for clients."""
    with bound_socket("127.0.0.1", 0) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ready = threading.Event()
        server = Server(served.service, taken, 0.3, ready.set)
        thread = threading.Thread(target=server.run)
        thread.start()
        assert ready.wait(20)
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"
        server.stop()
        thread.join(20)
        assert not thread.is_alive(), "one that does not read holds it up"


@contextmanager
def asked(address: str, fields: dict[str, Any]) -> Iterator[socket.socket]:
    """A client that has asked, and has not read yet."""
    parts, body = urlsplit(address), json.dumps(fields).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST_BUFFER)
        connection.settimeout(20)
        connection.connect((parts.hostname, parts.port))
        head = (
            f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        )
        connection.sendall(f"{head}\r\n\r\n".encode() + body)
        yield connection


def test_others_do_not_notice(address: str, served: Served) -> None:
    """Six beside six: those read at once, a byte every 100 ms, or nothing."""

    def read(connection: socket.socket, n_bytes: int, every_s: float) -> None:
        with suppress(OSError):  # it is closed below
            while connection.recv(n_bytes):
                time.sleep(every_s)

    def per_token_s(answer: httpx.Response) -> float:
        came = [time.monotonic() for line in answer.iter_lines() if line.startswith("data: {")]
        return (came[-1] - came[0]) / (len(came) - 1)

    def beside(readers: int, n_bytes: int = 0, every_s: float = 0.0) -> float:
        with ExitStack() as stack:
            for _ in range(readers):
                connection = stack.enter_context(asked(address, LONG))
                if n_bytes:
                    threading.Thread(target=read, args=(connection, n_bytes, every_s), daemon=True).start()
            fields = ENDLESS | {"stream": True, "max_tokens": 30}
            with (
                httpx.Client(timeout=60) as http,
                http.stream("POST", f"{address}/v1/completions", json=fields) as answer,
            ):
                return per_token_s(answer)

    kinds: dict[str, tuple[Any, ...]] = {"quick": (6, 65536), "slow": (6, 1, 0.1), "stuck": (6,)}
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(6):  # by turns: the machine is not always equally fast
        for kind, readers in kinds.items():
            found[kind].append(beside(*readers))
    quick, slow, stuck = map(min, found.values())
    print(f"\nms per token beside readers: {1e3 * quick:.2f}, slow: {1e3 * slow:.2f}, stuck: {1e3 * stuck:.2f}", end="")
    assert slow < 1.5 * quick + 0.001
    assert stuck < 1.5 * quick + 0.001


def test_one_that_does_not_read_gives_its_row_back_and_is_closed_in_time(
    served: Served, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(lifecycle, "STUCK_S", 1.5)
    address = request.getfixturevalue("address")
    with asked(address, LONG) as connection:
        until(lambda: served.service.engine.stats().finished.get("length") == 1)
        assert served.service.n_open == 1, "its answer is computed, and not sent"
        start = time.monotonic()
        until(lambda: is_idle(served))
        assert time.monotonic() - start > 0.5
        with suppress(ConnectionError):
            while connection.recv(65536):
                pass


def test_the_memory_of_one_that_does_not_read(address: str, served: Served) -> None:
    """Its tokens, and what has been written for it: no more than the answer has, however long it stays."""

    def held(more: dict[str, Any]) -> int:
        n_ended = served.service.engine.stats().finished.get("length", 0)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        with asked(address, LONG | more):
            until(lambda: served.service.engine.stats().finished.get("length", 0) > n_ended)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        until(lambda: is_idle(served))
        return after - before

    tracemalloc.start()
    try:
        held({})  # what is made once
        text, scored = held({"logprobs": None}), held({})
    finally:
        tracemalloc.stop()
    print(
        f"\n{LONG['max_tokens']} tokens that nobody reads: {text / 1e3:.0f} kB, with 20 of each: {scored / 1e3:.0f} kB"
    )
    assert text < 100_000 + 300 * LONG["max_tokens"]
    assert scored < 100_000 + 4000 * LONG["max_tokens"]


def test_one_that_reads_at_last_has_all_of_it(address: str, served: Served) -> None:
    with asked(address, LONG) as connection:
        until(lambda: served.service.engine.stats().finished.get("length") == 1)
        answer = b""
        while b"data: [DONE]" not in answer:
            answer += connection.recv(65536)
    tokens = sum(
        len(choice["logprobs"]["tokens"])
        for line in answer.split(b"\n")
        if line.startswith(b"data: {")
        for choice in json.loads(line[6:])["choices"]
    )
    assert tokens == LONG["max_tokens"]
