"""A stage in a process of its own, which does what it is asked, one thing at a time."""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from models.mixtral8x7b.mistake import Mistake

Make = Callable[[], AbstractContextManager[Any]]  # picklable: it is called in the other process


class StageError(Mistake):
    """A stage has ended, or what it was asked to do failed."""


class StageProcess:
    """`make` opens what the methods are called of; `name` is for people, such as "stage 2 of 2 (layers 16 to 31)".

    The constructor returns at once, the first call waits until the stage is there.
    """

    def __init__(self, name: str, make: Make) -> None:
        self.name = name
        self._make = make
        self._lock = Lock()
        self.start()

    def start(self) -> None:
        """Once more, where it has ended. Nothing is left of what it knew."""
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, self._make), name=self.name, daemon=True)
        self._process.start()
        theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def call(self, method: str, *arguments: Any) -> Any:
        with self._lock:
            try:
                self._connection.send((method, arguments))
                worked, result = self._connection.recv()
            except (EOFError, OSError) as error:
                self._process.join(timeout=5)
                raise StageError(
                    f"{self.name} has ended ({self._how()}), the answers under way are lost: ask again"
                ) from error
        if not worked:
            raise StageError(f"{self.name} {result}")
        return result

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _how(self) -> str:
        code = self._process.exitcode
        return "it is being ended" if code is None else f"exit code {code}" if code >= 0 else f"signal {-code}"


def serve(connection: Connection, make: Make) -> None:
    """In the other process: until the first one has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's, which then closes the connection
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), ExitStack() as opened:
        try:
            stage = opened.enter_context(make())
        except Exception as error:
            connection.recv()
            connection.send((False, f"cannot be opened{_told(error)}"))
            return
        while True:
            method, arguments = connection.recv()
            try:
                answer = (True, getattr(stage, method)(*arguments))
            except Exception as error:
                answer = (False, f"failed{_told(error)}")
            connection.send(answer)


def _told(error: Exception) -> str:
    if isinstance(error, Mistake):
        return f": {error}"
    return f", start the program again ({type(error).__name__}: {error})"
