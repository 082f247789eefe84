"""The engine as the rest of a program sees it: submit a request from any thread, read its stream.

    with Engine(model) as engine:
        for token in engine.submit(Request(ids, max_new_tokens=50, stop_ids={2})):
            ...                                     # token.id

One thread owns the model. It sleeps while nobody is there to serve.
"""

import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from threading import Condition, Thread
from types import TracebackType

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.model import ExpertSizes, Model
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import CANCELLED, LOST, EngineError, Stream
from models.mixtral8x7b.engine.watchdog import Watchdog, unwatched
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.packing import pass_sizes

CLOSED = "the engine is closed and takes no more requests; start it again"


class BusyError(Mistake):
    """As many requests wait as may; the message says how many."""


@dataclass(frozen=True)
class Options:
    """most_waiting: requests without a row, beyond which one is refused. pass_tokens: rows of a prefill pass while
    somebody decodes, who waits for it; a pass has more where nobody does. Raises RequestError."""

    most_waiting: int = 1024
    pass_tokens: int = 2048
    prefix_cache: bool = True

    def __post_init__(self) -> None:
        if self.most_waiting < 1:
            raise RequestError(f"most_waiting is {self.most_waiting}; expected at least 1")
        if self.pass_tokens not in pass_sizes():
            sizes = ", ".join(map(str, pass_sizes()))
            raise RequestError(f"pass_tokens is {self.pass_tokens}; expected one of {sizes}")


class Engine:
    """Serves until it is closed, or the model fails or hangs; then `failure` says why and every request is refused.

    watches: a call of the model that takes too long is taken for one that hangs; without it the model must know itself.
    """

    def __init__(self, model: Model, options: Options = Options(), watches: bool = True) -> None:
        self._model, self._options = model, options
        self._watchdog = Watchdog(self._fail)
        pass_tokens = min(options.pass_tokens, model.largest_pass)
        watch = self._watchdog.watch if watches else unwatched
        self._loop = Loop(model, pass_tokens, options.prefix_cache, watch=watch)
        self._condition = Condition()  # guards what follows
        self._arrived: list[Job] = []
        self._cancelled: list[Job] = []
        self._refuses: str | None = None
        self._failure: str | None = None
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def failure(self) -> str | None:
        """None: healthy, or closed by its owner."""
        return self._failure

    @property
    def most_waiting(self) -> int:
        return self._options.most_waiting

    @property
    def experts(self) -> ExpertSizes | None:
        """None: no request may ask for them."""
        return self._model.experts

    def submit(self, request: Request, on_put: Callable[[], None] = lambda: None) -> Stream:
        """Raises RequestError for what can never be served, BusyError where too many wait, EngineError where the engine
        has failed or is closed. `on_put` is the stream's."""
        model = self._model
        request.check(model.vocab_size, model.max_context, model.n_blocks, model.experts is not None)
        stream = Stream(lambda: self._cancel(job), on_put)
        job = Job(request, stream, time.monotonic())
        with self._condition:
            if self._refuses is not None:
                raise EngineError(self._refuses)
            n_waiting = self._loop.n_waiting + len(self._arrived)
            if n_waiting >= self._options.most_waiting:
                raise BusyError(f"{n_waiting} requests wait, at most {self._options.most_waiting} may: try again later")
            self._arrived.append(job)
            self._condition.notify()
        return stream

    def stats(self) -> Stats:
        stats = copy(self._loop.stats())
        stats.finished, stats.turns = dict(stats.finished), dict(stats.turns)
        return stats

    def close(self) -> None:
        """Cancels what is left. Returns when the thread has ended, or a second after the model was found to hang."""
        with self._condition:
            self._refuses = self._refuses or CLOSED
            self._condition.notify()
        while self._thread.is_alive() and self._failure is None:
            self._thread.join(timeout=0.1)
        self._thread.join(timeout=1)
        self._watchdog.close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # ---------------------------------------------------------------- the engine's thread

    def _run(self) -> None:
        try:
            works = True
            while self._take_in(waits=not works):
                works = self._loop.turn()
        except Mistake as error:  # it says what to do
            self._fail(str(error))
        except BaseException as error:  # whatever it is, nobody may be left to wait for ever
            self._fail(f"the model failed, start the program again ({type(error).__name__}: {error})")
        with self._condition:
            for job in self._arrived:
                self._loop.add(job)
        self._loop.drop(CANCELLED if self._failure is None else LOST, self._failure)

    def _take_in(self, waits: bool) -> bool:
        """What came since; waits until something does. False: no more work is to be done."""
        with self._condition:
            while waits and not (self._arrived or self._cancelled or self._refuses):
                self._condition.wait()
            if self._refuses is not None:
                return False
            for job in self._arrived:  # now, so that `submit` misses none when it counts
                self._loop.add(job)
            self._arrived = []
            cancelled, self._cancelled = self._cancelled, []
        for job in cancelled:
            self._loop.cancel(job)
        return True

    # ---------------------------------------------------------------- any thread

    def _cancel(self, job: Job) -> None:
        with self._condition:
            self._cancelled.append(job)
            self._condition.notify()

    def _fail(self, message: str) -> None:
        """From the watchdog's thread, while the engine's is stuck, or from the engine's own."""
        with self._condition:
            self._refuses = self._failure = self._failure or f"the engine has stopped: {message}"
            for job in self._arrived:
                job.stream.put(self._loop.finish_of(job, LOST, self._failure))
        self._loop.announce(self._failure)
