"""Two replicas of the tiny checkpoint under Ray Serve, on this machine; one is killed, one is drained.

.venv/bin/python -m pytest --target cpu tests/long/test_ray.py -s
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.long.ray_cluster import Driver
from tests.long.ray_environment import NoRayError, python_with_ray
from training.facts import seen_pairs

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = 40
WHOLE, BROKEN, REFUSED = "whole", "broken off", "5xx"


@dataclass
class Asked:
    """One line of the client's ledger."""

    question: str
    streamed: bool
    session: str
    began: float
    outcome: str | None = None
    text: str = ""
    ended: float = 0.0


class Client:
    """Asks, and notes of each request what became of it."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.ledger: list[Asked] = []

    async def ask_all(self, questions: list[tuple[str, bool]]) -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        async with httpx.AsyncClient(
            base_url=self.address, timeout=120, limits=httpx.Limits(max_connections=None)
        ) as http:

            async def one(question: str, streamed: bool, number: int) -> None:
                async with limit:
                    asked = Asked(question, streamed, f"s{number}", time.monotonic())
                    self.ledger.append(asked)
                    await self._ask(http, asked)
                    asked.ended = time.monotonic()

            await asyncio.gather(*(one(*question, number) for number, question in enumerate(questions)))

    async def _ask(self, http: httpx.AsyncClient, asked: Asked) -> None:
        messages = [{"role": "user", "content": asked.question}]
        body = {"model": "mixtral", "messages": messages, "temperature": 0, "stream": asked.streamed}
        headers = {"X-Session-Id": asked.session}
        if not asked.streamed:
            response = await http.post("/v1/chat/completions", json=body, headers=headers)
            asked.outcome = WHOLE if response.status_code == 200 else str(response.status_code)
            if response.status_code >= 500:
                asked.outcome = REFUSED
            elif response.status_code == 200:
                asked.text = response.json()["choices"][0]["message"]["content"]
            return
        try:
            async with http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as response:
                if response.status_code != 200:
                    asked.outcome = REFUSED if response.status_code >= 500 else str(response.status_code)
                    return
                asked.outcome = BROKEN
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        asked.outcome = WHOLE
                    elif line.startswith("data: "):
                        for choice in json.loads(line[6:])["choices"]:
                            asked.text += choice["delta"].get("content") or ""
        except httpx.TransportError:
            asked.outcome = BROKEN

    def outcomes(self, streamed: bool) -> Counter[str | None]:
        return Counter(asked.outcome for asked in self.ledger if asked.streamed is streamed)


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    try:
        python = python_with_ray()
    except NoRayError as error:
        pytest.skip(str(error))
    with Driver(python, ROOT) as driver:
        driver.set_replicas(2)
        yield driver


def questions(n: int, streamed: bool) -> list[tuple[str, bool]]:
    pairs = seen_pairs()
    return [(pairs[number % len(pairs)].question, streamed) for number in range(n)]


def answers() -> dict[str, str]:
    return {pair.question: pair.answer for pair in seen_pairs()}


async def kill_when(client: Client, n_ended: int, pid: int) -> float:
    while sum(asked.outcome is not None and asked.ended > 0 for asked in client.ledger) < n_ended:
        await asyncio.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def test_a_replica_is_killed(driver: Driver) -> None:
    right, client = answers(), Client(driver.address)
    alone = Client(driver.address)
    asyncio.run(alone.ask_all([(question, True) for question in list(right)[:8]]))
    assert all(asked.outcome == WHOLE for asked in alone.ledger)
    mixed = [one for pair in zip(questions(200, True), questions(200, False), strict=True) for one in pair]
    mixed = [one for number, one in enumerate(mixed) if one[1] or number % 8 == 1]
    victim, other = driver.replica_pids()

    async def run() -> float:
        _, killed = await asyncio.gather(client.ask_all(mixed), kill_when(client, 60, victim))
        return killed

    killed = asyncio.run(run())
    streams, calls = client.outcomes(True), client.outcomes(False)
    print(f"\n200 streams: {dict(streams)}; {sum(calls.values())} calls: {dict(calls)}", end="")
    assert len(client.ledger) == len(mixed) == 250
    assert sum(streams.values()) == 200
    assert set(streams) <= {WHOLE, BROKEN, REFUSED}, "nothing is lost without a word"
    assert set(calls) <= {WHOLE, REFUSED}
    assert streams[BROKEN] > 0
    for asked in client.ledger:
        if asked.outcome == WHOLE:
            assert asked.text == right[asked.question]
        elif asked.outcome == BROKEN:
            assert right[asked.question].startswith(asked.text)
        if asked.outcome != WHOLE:
            assert asked.began <= killed + 5, "who comes later is served by the other one"
            assert asked.ended >= killed
    failed = sum(asked.outcome != WHOLE for asked in client.ledger)
    assert failed <= AT_ONCE + 5, "those that were running, and no more"
    start = time.monotonic()
    while len(pids := driver.replica_pids()) < 2:
        assert time.monotonic() - start < 120
        time.sleep(0.2)
    assert other in pids
    assert victim not in pids
    driver.set_replicas(2)  # returns when both serve
    print(f"; a new replica serves {time.monotonic() - killed:.0f} s after the kill", end="")
    again = Client(driver.address)
    asyncio.run(again.ask_all(questions(60, True)))
    assert again.outcomes(True) == {WHOLE: 60}
    assert all(asked.text == right[asked.question] for asked in again.ledger)


def test_a_replica_that_is_drained_loses_nothing(driver: Driver) -> None:
    right, client = answers(), Client(driver.address)

    async def run() -> None:
        async def drain() -> None:
            while sum(asked.ended > 0 for asked in client.ledger) < 30:
                await asyncio.sleep(0.005)
            await asyncio.to_thread(driver.set_replicas, 1)

        await asyncio.gather(client.ask_all([*questions(150, True), *questions(50, False)]), drain())

    asyncio.run(run())
    assert client.outcomes(True) == {WHOLE: 150}
    assert client.outcomes(False) == {WHOLE: 50}
    assert all(asked.text == right[asked.question] for asked in client.ledger)
    start = time.monotonic()
    while len(driver.replica_pids()) > 1:
        assert time.monotonic() - start < 60
        time.sleep(0.2)
    assert httpx.get(f"{driver.address}/health").status_code == 200
