"""Notices a call of the model that does not come back, which the thread that made it cannot."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Condition, Thread

TIMES_USUAL, LEAST_S = 20, 30.0
FIRST_S = 600.0  # for the first of a kind: it may build its programs


def unwatched(what: str) -> AbstractContextManager[None]:
    """In place of Watchdog.watch."""
    return nullcontext()


class Watchdog:
    """Calls on_stuck, from a thread of its own and once, with a sentence, when a watched call takes too long.

    That is TIMES_USUAL times what calls of its kind usually take, at least LEAST_S. It sleeps while nothing is watched.
    """

    def __init__(self, on_stuck: Callable[[str], None]) -> None:
        self._on_stuck = on_stuck
        self._usual_s: dict[str, float] = {}
        self._condition = Condition()
        self._what: str | None = None  # is being watched
        self._until = 0.0
        self._wakes = math.inf  # the thread looks again then, if nobody wakes it
        self._closed = False
        self._thread = Thread(target=self._run, name="engine watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def watch(self, what: str) -> Iterator[None]:
        """`what` is the kind of call, in words: "a decode step"."""
        start = time.monotonic()
        usual_s = self._usual_s.get(what)
        with self._condition:
            self._what = what
            self._until = start + (FIRST_S if usual_s is None else max(LEAST_S, TIMES_USUAL * usual_s))
            if self._until < self._wakes:
                self._condition.notify()
        try:
            yield
        finally:
            with self._condition:
                self._what = None
        taken_s = time.monotonic() - start
        self._usual_s[what] = taken_s if usual_s is None else 0.9 * usual_s + 0.1 * taken_s

    def close(self) -> None:
        with self._condition:
            self._closed = True
            self._condition.notify()

    def _run(self) -> None:
        with self._condition:
            while not self._closed:
                left_s = self._until - time.monotonic()
                if self._what is not None and left_s <= 0:
                    break
                self._wakes = math.inf if self._what is None else self._until
                self._condition.wait(None if self._what is None else left_s)
            else:
                return
            what, usual_s = self._what, self._usual_s.get(self._what)
        usually = "is the first of its kind" if usual_s is None else f"usually takes {usual_s:.3g} s"
        self._on_stuck(f"{what} has not ended in time; it {usually}: see what the chips do and start the program again")
