"""The server under a mixed load for as long as is wanted: nothing may be lost, wrong, leaked, or left behind.

    make soak               # an hour
    make soak MINUTES=2

`mixtral serve --users 4`, the tiny instruct checkpoint on the cpu target, and 40 clients: ordinary ones of every route,
and one in eight that leaves, dawdles or sends what nobody can read. Prints a table, and ends with 1 on a fault.
"""

import argparse
import os
import platform
import random
import threading
import time
from datetime import date
from http.client import HTTPException
from importlib.metadata import version

from benchmarks.soak.asks import Asks
from benchmarks.soak.broken import BROKEN, Client
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.ordinary import ask
from benchmarks.soak.report import Row, row_of_memory, rows_of_requests, rows_of_the_server, rows_of_times
from benchmarks.soak.server import Memory, Served, served
from benchmarks.soak.wire import Address

CLIENTS, BROKEN_SHARE = 40, 1 / 8
WARM_UP_SHARE, LONGEST_WARM_UP_S = 0.4, 300.0
IDLE_WITHIN_S = 20.0
FAULTS_SHOWN = 20


def main() -> None:
    parser = argparse.ArgumentParser(prog="soak", description="A server under a mixed load; ends with 1 on a fault.")
    parser.add_argument("minutes", type=float, nargs="?", default=60, help="how long (60)")
    minutes = parser.parse_args().minutes
    ledger, asks = Ledger(), Asks()
    with served() as server:
        n_files = server.n_files()
        with Memory(server) as memory:
            _load(server.address, ledger, asks, time.monotonic() + 60 * minutes)
        _client(ask_known, server.address, ledger, asks, random.Random(0))
        metrics, new_files = _left(server, n_files)
        rows = [*rows_of_requests(ledger), *rows_of_times(ledger)]
        rows.append(row_of_memory(memory.samples, int(min(LONGEST_WARM_UP_S, WARM_UP_SHARE * 60 * minutes))))
        rows += rows_of_the_server(ledger, metrics, new_files)
        health, _ = server.address.get("/health")
        rows.append(Row("/health", str(health), health != 200))
        code = server.end()
        rows.append(Row("exit code after SIGTERM", str(code), code != 0))
        n_tracebacks = server.log().count("Traceback")
        rows.append(Row("tracebacks in its log", str(n_tracebacks), n_tracebacks > 0))
    _print(ledger, rows, minutes)
    if any(row.is_fault for row in rows):
        raise SystemExit(1)


def ask_known(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    ask(address, ledger, asks.known(draw))


def ask_any(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    ask(address, ledger, asks.any(draw))


def _load(address: Address, ledger: Ledger, asks: Asks, until: float) -> None:
    def stay(number: int) -> None:
        draw = random.Random(number)
        while time.monotonic() < until:
            is_broken = draw.random() < BROKEN_SHARE
            _client(draw.choice(BROKEN) if is_broken else ask_any, address, ledger, asks, draw)

    threads = [threading.Thread(target=stay, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _client(client: Client, address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    """One request; what it is not prepared for is a fault, and leaves its entry without an end: lost."""
    try:
        client(address, ledger, asks, draw)
    except (OSError, ValueError, LookupError, HTTPException) as error:
        ledger.fault(client.__name__, f"{type(error).__name__}: {error}")


def _left(server: Served, n_files: int) -> tuple[dict[str, float], int]:
    """Its metrics and the connections that it still has, when it is idle, or has had time to be."""
    until = time.monotonic() + IDLE_WITHIN_S
    while True:
        metrics = server.metrics()
        time.sleep(0.2)  # it may not have seen yet that this one has closed its connection
        new_files = server.n_files() - n_files
        is_idle = not metrics["num_requests_running"] + metrics["num_requests_waiting"] + new_files
        if is_idle or time.monotonic() > until:
            return metrics, new_files


def _print(ledger: Ledger, rows: list[Row], minutes: float) -> None:
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "fastapi", "uvicorn"))
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, {versions}; "
        f"{minutes:g} minutes, {CLIENTS} clients, mixtral-tiny-instruct, cpu target, 8 chips\n"
    )
    print("| | |\n|---|---|")
    for row in rows:
        print(f"| {row.name} | {'FAULT: ' if row.is_fault else ''}{row.found} |")
    print("\n| client | requests | ended |\n|---|---|---|")
    for kind, ends in sorted(ledger.ends_by_kind().items()):
        print(f"| {kind} | {sum(ends.values())} | {', '.join(f'{n} {end}' for end, n in ends.most_common())} |")
    for fault in ledger.faults[:FAULTS_SHOWN]:
        print(f"\nFAULT: {fault}")


if __name__ == "__main__":
    main()
