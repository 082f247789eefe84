"""What a program that answers needs of an engine, whatever stands behind it."""

from collections.abc import Callable
from typing import Protocol

from models.mixtral8x7b.engine.model import ExpertSizes
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import Stream


class EngineInterface(Protocol):
    """`engine.Engine`, and `pipeline.engine.Pipelined`."""

    @property
    def failure(self) -> str | None:
        """Why it takes no more requests, for good; None: healthy, or closed by its owner."""

    @property
    def most_waiting(self) -> int: ...

    @property
    def experts(self) -> ExpertSizes | None:
        """None: no request may ask for them."""

    def submit(self, request: Request, on_put: Callable[[], None] = ...) -> Stream: ...

    def stats(self) -> Stats: ...
