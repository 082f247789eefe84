"""What slow readers cost the others, and how much memory each holds: a real server over the tiny model, by the clock.

.venv/bin/python -m benchmarks.slow_readers      # two minutes on two quiet cores

Eight streams are read as they come, beside eight more: those are read at once, a byte every 100 ms, or not at all.
"""

import json
import os
import platform
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from itertools import pairwise
from statistics import median, quantiles

from benchmarks.soak.server import Served, served
from benchmarks.soak.wire import Address, encoded, post

READERS, TIMED_TOKENS, LONG_TOKENS = 8, 120, 1000
SMALLEST_BUFFER = 2304  # bytes of the system's, so that what is not read stays with the server
ASKED = {"prompt": "Once upon a time", "ignore_eos": True, "temperature": 0, "stream": True}
PATH = "/v1/completions"


def main() -> None:
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, "
        "mixtral-tiny-instruct, cpu target, 8 chips\n"
    )
    with served() as server:
        _timed(server.address)  # warms up
        print(f"| {READERS} streams beside {READERS} that | time per token, ms, p50 | p95 |\n|---|---|---|")
        for name, n_bytes, every_s in (
            ("read at once", 65536, 0.0),
            ("read 1 byte / 100 ms", 1, 0.1),
            ("stop", 0, 0.0),
        ):
            with _beside(server.address, n_bytes, every_s):
                times = _timed(server.address)
            print(f"| {name} | {median(times):.1f} | {quantiles(times, n=20)[-1]:.1f} |", flush=True)
        print(
            f"\n| {READERS} that stop, {LONG_TOKENS} tokens each | MB more when all is computed | when they are gone |"
        )
        print("|---|---|---|")
        for name, more in (("text", {}), ("20 log-probabilities for each token", {"logprobs": 20})):
            _print_memory(server, name, {**ASKED, **more, "max_tokens": LONG_TOKENS})


def _timed(address: Address) -> list[float]:
    """Milliseconds between two tokens of a stream, of all streams."""
    found: list[float] = []

    def read() -> None:
        with address.asked("POST", PATH, encoded(ASKED | {"max_tokens": TIMED_TOKENS})) as response:
            came = [time.monotonic() for line in response if line.startswith(b"data: {")]
        found.extend(1e3 * (after - before) for before, after in pairwise(came))

    threads = [threading.Thread(target=read) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@contextmanager
def _beside(address: Address, n_bytes: int, every_s: float, fields: dict[str, object] | None = None) -> Iterator[None]:
    """Readers of n_bytes at a time; 0: none are read."""

    def read(connection: socket.socket) -> None:
        with suppress(OSError):  # it is closed below
            while connection.recv(n_bytes):
                time.sleep(every_s)

    with ExitStack() as stack:
        for _ in range(READERS):
            connection = stack.enter_context(address.connected(SMALLEST_BUFFER))
            connection.sendall(post(PATH, json.dumps(fields or ASKED | {"max_tokens": LONG_TOKENS}).encode()))
            if n_bytes:
                threading.Thread(target=read, args=(connection,), daemon=True).start()
        yield


def _print_memory(server: Served, name: str, fields: dict[str, object]) -> None:
    before = server.rss()
    with _beside(server.address, 0, 0.0, fields):
        time.sleep(1)
        _wait_till_idle(server)
        during = server.rss()
    time.sleep(2)
    print(f"| {name} | {(during - before) / 1e6:.1f} | {(server.rss() - before) / 1e6:.1f} |", flush=True)


def _wait_till_idle(server: Served) -> None:
    while server.metrics()["num_requests_running"]:
        time.sleep(0.2)


if __name__ == "__main__":
    main()
