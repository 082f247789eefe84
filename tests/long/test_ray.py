"""Two replicas of the tiny checkpoint under Ray Serve, on this machine; one is killed, one is drained.

.venv/bin/python -m pytest --target cpu tests/long/test_ray.py -s
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.long.ledger import AT_ONCE, BROKEN, REFUSED, WHOLE, Client, answers, questions
from tests.long.ray_cluster import Driver, cpu_seconds
from tests.long.ray_environment import NoRayError, python_with_ray

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    try:
        python = python_with_ray()
    except NoRayError as error:
        pytest.skip(str(error))
    with Driver(python, ROOT) as driver:
        driver.set_replicas(2)
        yield driver


def test_a_replica_is_killed(driver: Driver) -> None:
    right, client = answers(), Client(driver.address)
    alone = Client(driver.address)
    asyncio.run(alone.ask_all([(question, True) for question in list(right)[:8]]))
    assert all(asked.outcome == WHOLE for asked in alone.ledger)
    victim, other = driver.replica_pids()

    async def run() -> float:
        async def kill() -> float:
            await client.until_ended(60)
            await client.until_begun(8)
            os.kill(victim, signal.SIGKILL)
            return time.monotonic()

        return (await asyncio.gather(kill(), client.ask_all(questions(250, 5))))[0]

    killed = asyncio.run(run())
    streams, calls = client.outcomes(True), client.outcomes(False)
    print(f"\n200 streams: {dict(streams)}; {sum(calls.values())} calls: {dict(calls)}", end="")
    assert len(client.ledger) == 250
    assert sum(streams.values()) == 200
    assert set(streams) <= {WHOLE, BROKEN, REFUSED}, "nothing is lost without a word"
    assert set(calls) <= {WHOLE, REFUSED}
    assert streams[BROKEN] + streams[REFUSED] > 0, "a stream that has no text yet may get a 5xx"
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
    assert victim not in pids
    driver.wait_for_replicas(2)
    print(f"; a new replica serves {time.monotonic() - killed:.0f} s after the kill", end="")
    (new,) = set(driver.replica_pids()) - {other}
    again, before_s = Client(driver.address), cpu_seconds(new)
    asyncio.run(again.ask_all(questions(60)))
    assert again.outcomes(True) == {WHOLE: 60}
    assert cpu_seconds(new) > before_s + 0.2
    assert all(asked.text == right[asked.question] for asked in again.ledger)


def test_replicas_that_are_drained_lose_nothing(driver: Driver) -> None:
    right, client = answers(), Client(driver.address)

    async def run() -> None:
        async def drain() -> None:
            await client.until_ended(30)
            await asyncio.to_thread(driver.set_replicas, 1)

        await asyncio.gather(client.ask_all(questions(200, 4)), drain())

    asyncio.run(run())
    assert client.outcomes(True) == {WHOLE: 150}
    assert client.outcomes(False) == {WHOLE: 50}
    assert all(asked.text == right[asked.question] for asked in client.ledger)
    start = time.monotonic()
    while len(driver.replica_pids()) > 1:
        assert time.monotonic() - start < 60
        time.sleep(0.2)
    assert httpx.get(f"{driver.address}/health").status_code == 200
