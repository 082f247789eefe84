"""What HAProxy takes to pass on streamed tokens: its CPU time for each event, by the clock.

    python -m benchmarks.router        # with haproxy installed

A server sends 128 streams an event of a chat's size each 40 ms, as four machines would; this process reads them through
the sample configuration's router. Only the router's own time is told.
"""

import asyncio
import os
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

SAMPLE = Path(__file__).resolve().parents[1] / "docs" / "serving" / "haproxy.cfg"
STREAMS, EVENTS, EVERY_S = 128, 250, 0.04
EVENT = b"data: " + b"x" * 220 + b"\n\n"


async def serve(port: int) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(EVENTS):
            writer.write(b"%x\r\n%s\r\n" % (len(EVENT), EVENT))
            await asyncio.sleep(EVERY_S)
        writer.write(b"0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


async def read_all(port: int) -> int:
    """Events of all streams."""

    async def one(number: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nX-Session-Id: %d\r\nConnection: close\r\n\r\n" % number)
        n = 0
        while line := await reader.readline():
            n += line.startswith(b"data: ")
        return n

    return sum(await asyncio.gather(*map(one, range(STREAMS))))


def main() -> None:
    program = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        print("left out: there is no haproxy here")
        return
    ports = [_free_port(), _free_port()]
    text = SAMPLE.read_text().replace("bind :8000", f"bind 127.0.0.1:{ports[1]}").replace(" check inter 1s", "")
    text = text.replace("fall 1 rise 1 observe layer4 error-limit 1 on-error mark-down", "maxconn 9999")
    text = text.replace("192.0.2.1:8080", f"127.0.0.1:{ports[0]}").replace("    server two 192.0.2.2:8080\n", "")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "haproxy.cfg").write_text(text)
        server = subprocess.Popen([sys.executable, "-m", "benchmarks.router", str(ports[0])])
        router = subprocess.Popen([program, "-db", "-f", f"{folder}/haproxy.cfg"])
        try:
            time.sleep(2)
            before = _cpu_s(router.pid)
            n_events = asyncio.run(read_all(ports[1]))
            took_s = _cpu_s(router.pid) - before
        finally:
            for process in (router, server):
                process.kill()
                process.wait()
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}: {n_events} events of {len(EVENT)} bytes in "
        f"{STREAMS} streams took HAProxy {1e6 * took_s / n_events:.0f} us of CPU each: at most {n_events / took_s:.0f} "
        "events/s of one core"
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(int(sys.argv[1])))
    else:
        main()
