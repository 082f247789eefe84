"""Two servers of the tiny checkpoint behind HAProxy with the sample of docs/serving; one is stopped, one is killed.

.venv/bin/python -m pytest --target cpu tests/long/test_haproxy.py -s
"""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.long.ledger import AT_ONCE, BROKEN, REFUSED, WHOLE, Client, answers, questions

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "docs" / "serving" / "haproxy.cfg"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


class Servers:
    """`mixtral serve` on ports of their own."""

    def __init__(self, logs: Path) -> None:
        self.ports = [free_port(), free_port()]
        self._logs = logs
        self.processes = [self.start(number) for number in (0, 1)]
        for number in (0, 1):
            self.wait(number)

    def start(self, number: int) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")}
        options = ["--port", str(self.ports[number]), "--target", "cpu", "--context", "512"]
        command = [sys.executable, "-m", "models.mixtral8x7b.cli", "serve", *options]
        with (self._logs / f"{number}").open("w") as log:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log
            )

    def wait(self, number: int) -> None:
        while "serving on" not in (log := (self._logs / f"{number}").read_text()):
            assert self.processes[number].poll() is None, log
            time.sleep(0.1)


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    servers = Servers(tmp_path)
    yield servers
    for process in servers.processes:
        process.kill()
        process.wait()


@pytest.fixture
def address(servers: Servers, tmp_path: Path) -> Iterator[str]:
    """The router's."""
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("left out: there is no haproxy here")
    port, text = free_port(), SAMPLE.read_text()
    for sample, own in (
        ("192.0.2.1:8080", f"127.0.0.1:{servers.ports[0]}"),
        ("192.0.2.2:8080", f"127.0.0.1:{servers.ports[1]}"),
        ("bind :8000", f"bind 127.0.0.1:{port}"),
    ):
        assert sample in text
        text = text.replace(sample, own)
    (tmp_path / "haproxy.cfg").write_text(text)
    router = subprocess.Popen([program, "-db", "-f", str(tmp_path / "haproxy.cfg")])
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            break
        except httpx.TransportError:
            assert router.poll() is None
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    router.kill()
    router.wait()


def test_one_is_stopped_and_one_is_killed(servers: Servers, address: str) -> None:
    """SIGTERM loses nothing. After kill -9 what ran there breaks off: of a call that is a 502, or, on a
    connection that had answers before, its end. All else is answered."""
    right = answers()

    async def asked_while(client: Client, number: int, signal_: signal.Signals) -> float:
        async def end() -> float:
            await client.until_ended(40)
            servers.processes[number].send_signal(signal_)
            return time.monotonic()

        return (await asyncio.gather(end(), client.ask_all(questions(200, 4))))[0]

    stopped = Client(address)
    asyncio.run(asked_while(stopped, 0, signal.SIGTERM))
    print(f"\nstopped: {dict(stopped.outcomes(True))} {dict(stopped.outcomes(False))}", end="")
    assert (stopped.outcomes(True), stopped.outcomes(False)) == ({WHOLE: 150}, {WHOLE: 50})
    assert servers.processes[0].wait(60) == 0
    servers.processes[0] = servers.start(0)
    servers.wait(0)
    time.sleep(2)  # the router looks each second
    killed = Client(address)
    when = asyncio.run(asked_while(killed, 1, signal.SIGKILL))
    streams, calls = killed.outcomes(True), killed.outcomes(False)
    print(f"; killed: {dict(streams)} {dict(calls)}", end="")
    assert set(streams) <= {WHOLE, BROKEN, REFUSED}
    assert set(calls) <= {WHOLE, REFUSED, BROKEN}
    failed = [asked for asked in killed.ledger if asked.outcome != WHOLE]
    assert 0 < len(failed) <= AT_ONCE
    assert all(asked.began <= when + 1 for asked in failed)
    for asked in [*stopped.ledger, *killed.ledger]:
        assert right[asked.question].startswith(asked.text)
        assert asked.outcome != WHOLE or asked.text == right[asked.question]
