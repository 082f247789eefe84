"""A model of the engine without arithmetic whose passes and steps take what the cost model says a T3000 takes.

    with modelled_times("performance") as times:
        chips = ModelledChips(times)
        Loop(chips, 2048, prefix_cache=True, clock=lambda: chips.now)

Modelled, not measured: docs/cost_model.md says how far such numbers were off for published models.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from benchmarks.engine import NoModel
from models.mixtral8x7b.config import MIXTRAL_8X7B
from models.mixtral8x7b.cost import prediction
from models.mixtral8x7b.cost.recording import Programs, recorder
from models.mixtral8x7b.engine.model import ROWS, Row, TakeLogits
from models.mixtral8x7b.packing import LARGEST_PASS, Pass
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.target import T3000_CHIPS

CONTEXT = 32768
ROUNDED_TO = 512  # positions: contexts of steps, and what stands in the cache before a piece, are costed so exactly


class Times:
    """Seconds of what was asked before are looked up."""

    def __init__(self, programs: Programs, n_blocks: int) -> None:
        self.n_blocks = n_blocks  # of KV cache beside the weights
        self._programs, self._decode, self._load = programs, programs.decode(), programs.load()
        self._steps: dict[tuple[int, int], float] = {}
        self._passes: dict[tuple[int, tuple[tuple[int, int], ...]], float] = {}

    def step_s(self, users: int, positions: int) -> float:
        """Of so many rows with so many positions of KV cache in all."""
        context = max(1, round(positions / users / ROUNDED_TO)) * ROUNDED_TO
        if (users, context) not in self._steps:
            ms = prediction.decode(self._decode, self._load, users, context).ms.expected
            self._steps[users, context] = ms / 1e3
        return self._steps[users, context]

    def pass_s(self, of: Pass) -> float:
        pieces = tuple(sorted((piece.rows, -(-piece.start // ROUNDED_TO)) for piece in of.pieces))
        if (of.size, pieces) not in self._passes:
            ms = prediction.prefill([self._programs.prefill_pass(of)], self._load).ms.expected
            self._passes[of.size, pieces] = ms / 1e3
        return self._passes[of.size, pieces]


class ModelledChips(NoModel):
    """Draws token 0 always, and moves a clock."""

    def __init__(self, times: Times) -> None:
        super().__init__(times.n_blocks)
        self._times, self._users, self._positions = times, 0, 0

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        stand = [row.position + 1 for row in rows if row is not None and row.position is not None]
        self._users, self._positions = len(stand), sum(stand)

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        self.now += self._times.pass_s(of)
        return [0] * ROWS

    def step(self) -> None:
        self.now += self._times.step_s(self._users, self._positions)
        self._positions += self._users


@contextmanager
def modelled_times(precision: str) -> Iterator[Times]:
    """Of Mixtral 8x7B on a T3000; the target must be cpu."""
    with recorder(MIXTRAL_8X7B, precision, T3000_CHIPS, CONTEXT, blocks_for(CONTEXT + LARGEST_PASS)) as programs:
        yield Times(programs, programs.kv_tokens(precision, CONTEXT) // KV_BLOCK)
