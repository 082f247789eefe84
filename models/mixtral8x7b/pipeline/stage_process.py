"""A stage in a process of its own, which does what it is asked, one thing at a time."""

import multiprocessing
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

from models.mixtral8x7b.pipeline.stage_error import (
    ANSWERS_WITHIN_S,
    StageError,
    cannot_be_opened,
    failed,
    hangs,
    has_ended,
)

Make = Callable[[], AbstractContextManager[Any]]  # picklable: it is called in the other process


class StageProcess:
    """`make` opens what the methods are called of; `name` is for people, such as "stage 2 of 2 (layers 16 to 31)".

    The constructor returns at once, the first call waits until the stage is there, as long as that takes. A later one
    that has no answer within answers_within_s, and one that fails, ends the process: nobody knows what state it is in.
    """

    def __init__(self, name: str, make: Make, answers_within_s: float = ANSWERS_WITHIN_S) -> None:
        self.name = name
        self._make, self._answers_within_s = make, answers_within_s
        self._lock = Lock()
        self.start()

    def start(self) -> None:
        """Once more, where it has ended. Nothing is left of what it knew."""
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=serve, args=(theirs, self._make), name=self.name, daemon=True)
        self._process.start()
        self._is_open = False
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
                if not self._connection.poll(self._answers_within_s if self._is_open else None):
                    self._end()
                    raise hangs(self.name, self._answers_within_s)
                worked, result = self._connection.recv()
            except (EOFError, OSError) as error:
                self._process.join(timeout=5)
                raise has_ended(self.name, self._how()) from error
            if not worked:
                self._process.join(timeout=5)  # it closes what it has opened
                self._end()
                raise StageError(f"{self.name} {result}")
            self._is_open = True
            return result

    def close(self) -> None:
        self._connection.close()
        self._process.join(timeout=5)
        self._end()

    def _end(self) -> None:
        self._process.kill()
        self._process.join()

    def _how(self) -> str:
        code = self._process.exitcode
        return "it is being ended" if code is None else f"exit code {code}" if code >= 0 else f"signal {-code}"


def serve(connection: Connection, make: Make) -> None:
    """In the other process: until the first one has gone, or something fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's, which then closes the connection
    with suppress(EOFError, BrokenPipeError, ConnectionResetError), ExitStack() as opened:
        try:
            stage = opened.enter_context(make())
        except Exception as error:
            connection.recv()
            connection.send((False, cannot_be_opened(error)))
            return
        while True:
            method, arguments = connection.recv()
            try:
                result = getattr(stage, method)(*arguments)
            except Exception as error:
                connection.send((False, failed(error)))
                return
            connection.send((True, result))
