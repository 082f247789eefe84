"""A group of 32 rows that goes through all stages: the model of an engine of its own. Imports no ttnn.

While one group's rows are in one stage, those of another are in the next: with as many engines as stages, each with its
own group, no stage waits for long. A stage does one thing at a time, in the order in which it is asked.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol

from models.mixtral8x7b.engine.model import ROWS, Choices, ExpertSizes, Row, Sizes, TakeLogits
from models.mixtral8x7b.packing import Pass


class StageHandle(Protocol):
    """A stage somewhere: `tt.stage.Stage` in a process of its own, or on another machine."""

    def call(self, method: str, *arguments: Any) -> Any:
        """What the stage's method gives. Raises StageError where the stage is gone."""


class Group:
    """An engine's Model. Notes no experts. `ready` is called in the engine's thread before the stages are asked for the
    first time: it may wait until they are there, and raises what the engine is to fail with."""

    experts: ExpertSizes | None = None

    def __init__(
        self, number: int, stages: Sequence[StageHandle], sizes: Sizes, ready: Callable[[], None] = lambda: None
    ) -> None:
        self.n_blocks, self.max_context, self.vocab_size, self.largest_pass = sizes
        self._number, self._stages, self._ready = number, stages, ready
        self._is_first = True
        self._feeds = [0] * ROWS  # the ids that the next step feeds
        self._logits: Any = None

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        if self._is_first:
            self._ready()
            self._is_first = False
        self._feeds = [row.token if row else 0 for row in rows]
        sent = [row and row._replace(blocks=list(row.blocks)) for row in rows]
        for stage in self._stages:
            stage.call("set_rows", self._number, sent)

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        handed: Any = None
        for stage in self._stages:
            handed = stage.call("prefill", self._number, of, handed, list(take_logits))
        for row, start, logits in handed.of_prompts:
            take_logits[row](start, logits)
        self._logits = handed.logits
        return handed.ids

    def step(self) -> None:
        """It is done when it is read: until then the engine has other things to do, and no stage is kept waiting."""

    def read_tokens(self) -> list[int]:
        handed: Any = self._feeds
        for stage in self._stages:
            handed = stage.call("step", self._number, handed)
        self._logits = handed.logits
        self._feeds = list(handed.ids)
        return handed.ids

    def read_logits(self) -> Any:
        return self._logits

    def read_experts(self, rows: Collection[int]) -> Mapping[int, Choices]:
        raise NotImplementedError("stages note no experts; `experts` says so")

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        for row, token in tokens.items():
            self._feeds[row] = token
