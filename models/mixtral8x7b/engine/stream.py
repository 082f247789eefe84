"""What comes back of a request, on its way from the engine's thread to the one that reads."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import NamedTuple

from models.mixtral8x7b.engine.model import Choices, Drawn
from models.mixtral8x7b.mistake import Mistake

STOP, LENGTH, CANCELLED, DEADLINE = "stop", "length", "cancelled", "deadline"
ERROR, LOST = "error", "lost"  # it alone could not go on; the engine failed


def _nothing() -> None: ...


class EngineError(Mistake):
    """The engine could not go on with a request, or takes none; the message says why."""


class Token(NamedTuple):
    """`drawn` is what the request's host row said of it, if it has one. `experts`, where the request asks for them, are
    those that the step which drew it sent its row to; None where a pass drew it."""

    id: int
    drawn: Drawn | None = None
    experts: Choices | None = None


class Finish(NamedTuple):
    """Why an answer ended, and what it took. Times are in seconds since the request was submitted."""

    reason: str
    message: str | None = None  # of ERROR and LOST
    n_prompt: int = 0
    n_cached: int = 0  # of the prompt, found in the prefix cache
    n_new: int = 0
    started_s: float | None = None  # when it had its row; None: never
    first_token_s: float | None = None
    total_s: float = 0.0


class Stream:
    """Iterate over it, once: it gives each Token when it is there and ends with the answer, after which `finish` tells.

    Raises EngineError where the engine failed, or could not go on with it. Any thread may read and any may cancel; a
    reader that is slow delays nobody, one that goes away should cancel. `on_put` is called in the engine's thread when
    something has come.
    """

    def __init__(self, on_cancel: Callable[[], None] = _nothing, on_put: Callable[[], None] = _nothing) -> None:
        self._queue: SimpleQueue[Token | Finish] = SimpleQueue()
        self._on_cancel, self._on_put = on_cancel, on_put
        self.finish: Finish | None = None

    def __iter__(self) -> Iterator[Token]:
        while (token := self._read(self._queue.get)) is not None:
            yield token
        assert self.finish is not None
        if self.finish.reason in (ERROR, LOST):
            raise EngineError(self.finish.message)

    def arrived(self) -> list[Token]:
        """For those who may not wait, instead: what has come since, till `finish` is there, which may be an error."""
        tokens: list[Token] = []
        with suppress(Empty):
            while (token := self._read(self._queue.get_nowait)) is not None:
                tokens.append(token)
        return tokens

    def cancel(self) -> None:
        """The answer ends before the next step. Nothing happens if it has ended."""
        if self.finish is None:
            self._on_cancel()

    def put(self, one: Token | Finish) -> None:
        """For the engine. What comes after the first Finish is never read."""
        self._queue.put(one)
        self._on_put()

    def _read(self, get: Callable[[], Token | Finish]) -> Token | None:
        """None: the answer has ended."""
        if self.finish is None:
            one = get()
            if isinstance(one, Token):
                return one
            self.finish = one
        return None
