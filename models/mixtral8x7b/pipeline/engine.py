"""An engine for each group of 32 rows, over stages that all of them go through.

    with Pipelined(stages, 2) as pipelined:
        for token in pipelined.submit(Request(ids, max_new_tokens=50)):
            ...

A stage that ends takes the KV cache of its layers with it: what was under way fails with one sentence, and the next
request starts the stage again and waits for it.
"""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Protocol

from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.engine.model import ExpertSizes, Sizes
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stats import Stats, total
from models.mixtral8x7b.engine.stream import EngineError, Stream
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.pipeline.group import Group, StageHandle
from models.mixtral8x7b.pipeline.stage_error import StageError


class OwnedStage(StageHandle, Protocol):
    @property
    def is_alive(self) -> bool: ...

    def start(self) -> None:
        """Once more, after it has ended."""

    def close(self) -> None: ...


class Pipelined:
    """Owns the stages: closes them when it is closed. Waits until all of them are there, and raises StageError if one
    cannot be. Options are of all groups together."""

    experts: ExpertSizes | None = None

    def __init__(self, stages: Sequence[OwnedStage], n_groups: int, options: Options | None = None) -> None:
        self._stages, self._n_groups, self._options = stages, n_groups, options or Options()
        try:
            self._sizes = self._sizes_of_all()
        except StageError:
            self._close_stages()
            raise
        self._failure: str | None = None
        self._recovering = Lock()
        self._lock = Lock()  # guards what follows
        self._engines = self._started(lambda: None)
        self._lost: list[Engine] = []  # engines whose stages are not all there again
        self._past = Stats()  # of engines that are closed

    @property
    def failure(self) -> str | None:
        """A stage that has ended is none; one that cannot be started again is."""
        return self._failure

    @property
    def most_waiting(self) -> int:
        return self._options.most_waiting

    def submit(self, request: Request, on_put: Callable[[], None] = lambda: None) -> Stream:
        """To the group that has the fewest requests, in turns. Raises what Engine.submit raises."""
        with self._lock:
            if self._failure is not None:
                raise EngineError(self._failure)
            if not self._lost and self._is_broken():
                self._lost, self._engines = self._engines, self._started(self._recover)
            engine = self._engines.pop(self._engines.index(min(self._engines, key=_busy)))
            self._engines.append(engine)
            return engine.submit(request, on_put)

    def stats(self) -> Stats:
        with self._lock:
            lost = [engine.stats().counts() for engine in self._lost]
            return total([self._past, *lost, *(engine.stats() for engine in self._engines)])

    def close(self) -> None:
        if self._lost:  # who waits for a stage that is being started need not
            self._close_stages()
        for engine in [*self._engines, *self._lost]:
            engine.close()
        self._close_stages()

    # ---------------------------------------------------------------- stages that end

    def _is_broken(self) -> bool:
        return any(engine.failure for engine in self._engines) or not all(stage.is_alive for stage in self._stages)

    def _recover(self) -> None:
        """In the thread of each new engine when its first request comes: the first one starts the stages again, the
        others wait for it. The lost engines end before that: one that asked a stage afterwards would read a KV cache
        of nothing."""
        with self._recovering:
            if not self._lost:
                return
            try:
                for engine in self._lost:  # each finds out at its next step
                    while _busy(engine) and not engine.failure:
                        time.sleep(0.01)
                    engine.close()
                for stage in self._stages:
                    if not stage.is_alive:
                        stage.start()
                self._sizes_of_all()
            except Exception as error:  # whatever it is, nobody may be left to wait for ever
                why = str(error) if isinstance(error, Mistake) else f"start the program again ({error})"
                self._failure = f"the engine has stopped: {why}"
                raise
            with self._lock:
                self._past = total([self._past, *(engine.stats().counts() for engine in self._lost)])
                self._lost = []

    def _sizes_of_all(self) -> Sizes:
        """Waits until all stages are there."""
        each = [stage.call("sizes") for stage in self._stages]
        return Sizes(*(min(of_stages) for of_stages in zip(*each, strict=True)))

    def _started(self, ready: Callable[[], None]) -> list[Engine]:
        share = -(-self._options.most_waiting // self._n_groups)
        options = Options(share, self._options.pass_tokens, self._options.prefix_cache)
        groups = [Group(number, self._stages, self._sizes, ready) for number in range(self._n_groups)]
        return [Engine(group, options, watches=False) for group in groups]  # a stage that hangs is found out by `call`

    def _close_stages(self) -> None:
        for stage in self._stages:
            stage.close()

    def __enter__(self) -> "Pipelined":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _busy(engine: Engine) -> int:
    stats = engine.stats()
    return stats.n_waiting + stats.n_prefilling + stats.n_decoding
