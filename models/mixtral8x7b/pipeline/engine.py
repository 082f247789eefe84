"""An engine for each group of 32 rows, over stages that all of them go through.

    with Pipelined(stages, 2) as pipelined:
        for token in pipelined.submit(Request(ids, max_new_tokens=50)):
            ...

A stage that ends takes the KV cache of its layers with it: what was under way fails with one sentence, and the next
request finds the stage started again.
"""

import time
from collections.abc import Callable, Sequence
from threading import Lock
from types import TracebackType
from typing import Protocol

from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.engine.model import Sizes
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Stream
from models.mixtral8x7b.pipeline.group import Group, StageHandle
from models.mixtral8x7b.pipeline.stage_process import StageError


class OwnedStage(StageHandle, Protocol):
    @property
    def is_alive(self) -> bool: ...

    def start(self) -> None:
        """Once more, after it has ended."""

    def close(self) -> None: ...


class Pipelined:
    """Owns the stages: closes them when it is closed. Waits until all of them are there, and raises StageError if one
    cannot be."""

    def __init__(self, stages: Sequence[OwnedStage], n_groups: int, options: Options | None = None) -> None:
        self._stages, self._n_groups, self._options = stages, n_groups, options or Options()
        self._lock = Lock()  # guards the engines
        try:
            each = [stage.call("sizes") for stage in stages]
        except StageError:
            self._close_stages()
            raise
        self._sizes = Sizes(*(min(of_stages) for of_stages in zip(*each, strict=True)))
        self._engines = self._started()

    def submit(self, request: Request, on_put: Callable[[], None] = lambda: None) -> Stream:
        """To the group that has the fewest requests, in turns. Raises what Engine.submit raises."""
        with self._lock:
            if any(engine.failure for engine in self._engines) or not all(stage.is_alive for stage in self._stages):
                self._recover()
            engine = self._engines.pop(self._engines.index(min(self._engines, key=_busy)))
            self._engines.append(engine)
            return engine.submit(request, on_put)

    def close(self) -> None:
        with self._lock:
            for engine in self._engines:
                engine.close()
            self._close_stages()

    def _close_stages(self) -> None:
        for stage in self._stages:
            stage.close()

    def _recover(self) -> None:
        """The engines first: one that asked a stage after it was started again would read a KV cache of nothing."""
        if not all(stage.is_alive for stage in self._stages):
            for engine in self._engines:  # each finds out at its next step
                while _busy(engine) and not engine.failure:
                    time.sleep(0.01)
        for engine in self._engines:
            engine.close()
        for stage in self._stages:
            if not stage.is_alive:
                stage.start()
        self._engines = self._started()

    def _started(self) -> list[Engine]:
        return [Engine(Group(n, self._stages, self._sizes), self._options) for n in range(self._n_groups)]

    def __enter__(self) -> "Pipelined":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _busy(engine: Engine) -> int:
    stats = engine.stats()
    return stats.n_waiting + stats.n_prefilling + stats.n_decoding
