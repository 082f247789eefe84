"""What slow readers cost the others: a real server over the tiny model, by the clock.

.venv/bin/python -m benchmarks.slow_readers      # two minutes on two quiet cores

Eight streams are read as they come, beside eight more: those are read at once, a byte every 100 ms, or not at all.
"""

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

from benchmarks.soak.server import served
from benchmarks.soak.wire import Address, encoded, post

READERS, ROUNDS, TIMED_TOKENS, LONG_TOKENS = 8, 2, 120, 3000
SMALLEST_BUFFER = 2304  # bytes of the system's, so that what is not read stays with the server
ASKED = {"prompt": "Once upon a time", "ignore_eos": True, "temperature": 0, "stream": True}
PATH = "/v1/completions"
OTHERS = {"read at once": (65536, 0.0), "read a byte every 100 ms": (1, 0.1), "do not read": (0, 0.0)}


def main() -> None:
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, "
        "mixtral-tiny-instruct, cpu target, 8 chips\n"
    )
    with served() as server:
        _timed(server.address)  # warms up
        times: dict[str, list[float]] = {name: [] for name in OTHERS}
        for _ in range(ROUNDS):
            for name, (n_bytes, every_s) in OTHERS.items():
                with _beside(server.address, n_bytes, every_s):
                    times[name] += _timed(server.address)
    print(f"| {READERS} streams beside {READERS} that | time per token, ms, p50 | p95 |\n|---|---|---|")
    for name, found in times.items():
        print(f"| {name} | {median(found):.1f} | {quantiles(found, n=20)[-1]:.1f} |")


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
def _beside(address: Address, n_bytes: int, every_s: float) -> Iterator[None]:
    """Readers of n_bytes at a time; 0: none are read."""

    def read(connection: socket.socket) -> None:
        with suppress(OSError):  # it is closed below
            while connection.recv(n_bytes):
                time.sleep(every_s)

    with ExitStack() as stack:
        for _ in range(READERS):
            connection = stack.enter_context(address.connected(SMALLEST_BUFFER))
            connection.sendall(post(PATH, encoded(ASKED | {"max_tokens": LONG_TOKENS})))
            if n_bytes:
                threading.Thread(target=read, args=(connection,), daemon=True).start()
        yield


if __name__ == "__main__":
    main()
