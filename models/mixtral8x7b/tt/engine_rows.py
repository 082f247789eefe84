"""What the engine says that rows do, on its way to the chips."""

from collections.abc import Sequence

from models.mixtral8x7b.engine.model import Row
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.decode_state import NO_USER, DecodeState
from models.mixtral8x7b.tt.sampler import Sampler


def set_rows(rows: Sequence[Row | None], state: DecodeState, sampler: Sampler) -> None:
    positions = [NO_USER if row is None or row.position is None else row.position for row in rows]
    state.set_rows([row.token if row else 0 for row in rows], positions)
    state.set_blocks([list(row.blocks) if row else [] for row in rows])
    sampler.set([row.sampling if row else GREEDY for row in rows], [row.next_index if row else 0 for row in rows])
