"""What the chips hold of the 32 rows between the plugin's calls, and what the host last said of each."""

from collections.abc import Sequence
from typing import TypeVar

import torch

from models.mixtral8x7b.host_rows import RowParams, chip_params
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.model import Mixtral

Each = TypeVar("Each")
NOTHING = RowParams()


class Rows:
    """`positions`: where the token stands that the next step feeds, NO_USER in a row without one. `sampling`: what is
    asked of the tokens drawn there.

    A step goes on by itself: tokens, positions and the index of each row's random number are the chips', and the host's
    copies follow. `resident`: whether the chips' tokens are what the next step feeds.
    """

    def __init__(self, model: Mixtral) -> None:
        self._model = model
        self.positions = [NO_USER] * DECODE_ROWS
        self.sampling = [NOTHING] * DECODE_ROWS
        self.resident = False
        self._indices = [0] * DECODE_ROWS
        self._page_table = torch.zeros(0, 0, dtype=torch.int32)

    def set_inputs(self, tokens: torch.Tensor, positions: torch.Tensor) -> None:
        """tokens [B, 1] and positions [B] of the first rows, -1 in one without a user; the others have none."""
        self.positions = _padded([int(position) for position in positions], NO_USER)
        self._model.state.set_rows(_padded(tokens.flatten().tolist(), 0), self.positions)
        self.resident = True

    def set_blocks(self, page_table: torch.Tensor) -> None:
        """int32 [B, blocks of a request]. Nothing is sent if it is the last one."""
        if not torch.equal(page_table, self._page_table):
            self._page_table = page_table.clone()
            self._send_blocks()

    def set_sampling(self, params: Sequence[RowParams]) -> None:
        self.sampling = _padded(params, NOTHING)
        self.send_sampling()

    def align_random_numbers(self) -> None:
        """To the positions: the next token of a row is drawn behind the one that is fed."""
        self._indices = [max(0, position + 1) for position in self.positions]
        self.send_sampling()

    def send_sampling(self) -> None:
        """Also where a prefill has used the sampler for its own rows."""
        self._model.sampler.set([chip_params(row) for row in self.sampling], self._indices)

    def move(self, remap: Sequence[int]) -> None:
        """Row i has from now on what stands in row remap[i]; remap is a permutation of the rows of the page table."""
        order = [*remap, *range(len(remap), DECODE_ROWS)]
        if self.resident:
            tokens = self._model.state.read_tokens()
            self.positions = _moved(self.positions, order)
            self._model.state.set_rows(_moved(tokens, order), self.positions)
            self._page_table = self._page_table[list(remap)]
            self._send_blocks()
        self.sampling, self._indices = _moved(self.sampling, order), _moved(self._indices, order)
        self.send_sampling()

    def advance(self) -> None:
        """A step has been made; what it drew is fed next."""
        self.positions = [position if position == NO_USER else position + 1 for position in self.positions]
        self._indices = [index + 1 for index in self._indices]

    def _send_blocks(self) -> None:
        self._model.state.set_blocks(self._page_table.tolist())


def _padded(values: Sequence[Each], filling: Each) -> list[Each]:
    return [*values, *[filling] * (DECODE_ROWS - len(values))]


def _moved(values: Sequence[Each], order: Sequence[int]) -> list[Each]:
    return [values[row] for row in order]
