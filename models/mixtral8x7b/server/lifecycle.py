"""A server from its start to its end: it drains when it is told to stop, and ends when the engine has failed."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.torchserve import USUAL, TorchServeOptions

KEEP_ALIVE_S = 90  # longer than clients' pools keep connections, so that it is they who close them
UNHEALTHY_S = 3.0  # of a failed engine, so that whoever polls /health sees it
CLOSING_S = 1  # for answers that are cut off
STUCK_S = 600  # a client that takes nothing for so long, of what it has been sent, has its connection closed
LOOKS_EVERY_S = 0.1


class AddressError(Mistake):
    """Nobody can be served there; the message says why."""


def bound_socket(host: str, port: int) -> socket.socket:
    """Taken, but nobody is let in yet. Raises AddressError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(1000 * STUCK_S)
            )  # connections inherit it
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise AddressError(
            f"{host} port {port} cannot be had ({error.strerror}); expected an address of this machine and a port that "
            "is free: choose others with --host and --port (0 takes a free one)"
        ) from error
    return taken


class Server:
    """Serves in the thread that runs it; in the main thread SIGTERM and Ctrl-C stop it, at once if they come again.

    drain_s     how long those who are being answered have when it is stopped
    on_ready    is called when it answers
    """

    def __init__(
        self,
        service: Service,
        taken: socket.socket,
        drain_s: float,
        on_ready: Callable[[], None] = lambda: None,
        torchserve: TorchServeOptions = USUAL,
    ) -> None:
        config = uvicorn.Config(
            create_app(service, torchserve),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="off",
            http="h11",
            ws="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSING_S,
        )
        self._service, self._socket, self._drain_s, self._on_ready = service, taken, drain_s, on_ready
        self._server = _Uvicorn(config, self.stop)

    def run(self) -> str | None:
        """Why the engine failed; None: it was stopped."""
        asyncio.run(self._run())
        return self._service.engine.failure

    def stop(self) -> None:
        """Takes no more requests, and ends when none is open, or after drain_s. Any thread, or a signal."""
        if self._service.is_draining:
            self._server.should_exit = self._server.force_exit = True
        self._service.is_draining = True

    async def _run(self) -> None:
        serving = asyncio.ensure_future(self._server.serve([self._socket]))
        while not (self._server.started or serving.done()):
            await asyncio.wait({serving}, timeout=LOOKS_EVERY_S)
        self._on_ready()
        while not serving.done() and not self._must_end():
            await asyncio.wait({serving}, timeout=LOOKS_EVERY_S)
        until = time.monotonic() + (self._drain_s if self._service.engine.failure is None else UNHEALTHY_S)
        while not serving.done() and time.monotonic() < until and self._has_time():
            await asyncio.wait({serving}, timeout=LOOKS_EVERY_S)
        self._server.should_exit = True
        await serving

    def _must_end(self) -> bool:
        return self._service.is_draining or self._service.engine.failure is not None

    def _has_time(self) -> bool:
        return self._service.n_open > 0 or self._service.engine.failure is not None


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stop()
