"""What the layers are told about one decode step, and about one prefill pass. Everything in them is on the chips."""

from dataclasses import dataclass

import ttnn

from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.rope import Rotation
from models.mixtral8x7b.tt.row_list import RowLister


@dataclass(frozen=True)
class DecodeStep:
    """32 rows, one token each; a row without a user has position -1."""

    rotation: Rotation
    positions: ttnn.Tensor  # int32 [32]: where each row's token stands
    page_table: ttnn.Tensor  # int32 [32, blocks per user]
    choices: ExpertChoices | None = None  # where the layers note the experts that they choose


@dataclass(frozen=True)
class Continuation:
    """A piece of a pass that goes on from the cache. Only `rows` shapes the programs."""

    rows: int  # that are attended, a power of two; those behind the piece are other pieces' and are thrown away
    first_row: ttnn.Tensor  # uint32 [4]: where they begin in the pass's queries, as a corner of [1, H, T, K]
    end_row: ttnn.Tensor  # uint32 [4]: the corner behind them
    page_table: ttnn.Tensor  # int32 [1, blocks]: the prompt's blocks from its first position on
    start: ttnn.Tensor  # int32 [1]: the first row's position in its prompt
    put_back: ttnn.Tensor  # int32 [1, rows / 64]: which 64 rows of the pass each 64 attended rows are, -1: none


@dataclass(frozen=True)
class PrefillPass:
    """T rows with any prompts side by side, each at a multiple of 64 rows. Only T shapes the programs."""

    size: int
    rotation: Rotation  # of each row's position in its prompt
    windows: ttnn.Tensor  # int32 [33]: the row at which each piece starts, then where the last one ends, then T
    fill_table: ttnn.Tensor  # int32 [1, T / 64]: the block of each 64 rows' keys and values, -1: throw away
    continuations: tuple[Continuation, ...]
    lister: RowLister | None  # where each expert runs on its own rows; none where all run on all
