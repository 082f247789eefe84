"""What the decode program reads and advances, all on the chips: each row's token, position and blocks."""

import torch
import ttnn

from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.tt.layouts import DECODE_KEYS_AT_ONCE, DECODE_ROWS
from models.mixtral8x7b.tt.mesh import Mesh

NO_USER = -1  # position of an unused row


def table_width(max_context: int) -> int:
    """Blocks in a row of the page table: enough for max_context positions and on to the end of a chunk of keys.

    Attention reads whole chunks. Where the table ended inside one, the kernel would take the rest of the blocks'
    numbers from whatever stands behind the row.
    """
    return blocks_for(-(-max_context // DECODE_KEYS_AT_ONCE) * DECODE_KEYS_AT_ONCE)


class DecodeState:
    """The host overwrites it in place when users come or go; a step advances it without the host."""

    def __init__(self, mesh: Mesh, max_context: int) -> None:
        self._mesh = mesh
        self._table_width = table_width(max_context)
        self.tokens = mesh.put(torch.zeros(1, 1, 1, DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self.positions = mesh.put(torch.full((DECODE_ROWS,), NO_USER, dtype=torch.int32), ttnn.int32)
        # the same for the rotary tables, for query and key rows; an unused row looks up position 0 and up, which is
        # harmless: it is never further than the longest used row
        self.rope_positions = mesh.put(torch.zeros(1, 2 * DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
        self.page_table = mesh.put(torch.zeros(DECODE_ROWS, self._table_width, dtype=torch.int32), ttnn.int32)

    def set_rows(self, tokens: list[int], positions: list[int]) -> None:
        """Next token and its position of every row, 32 of each; position NO_USER leaves a row out."""
        places = torch.tensor(positions, dtype=torch.int32)
        self.set_tokens(tokens)
        self._mesh.update(self.positions, places)
        self._mesh.update(self.rope_positions, places.clamp(min=0).repeat(2)[None])

    def set_tokens(self, tokens: list[int]) -> None:
        """Next token of every row, 32; all else stays."""
        self._mesh.update(self.tokens, torch.tensor(tokens, dtype=torch.int32).reshape(1, 1, 1, -1))

    def set_blocks(self, blocks: list[list[int]]) -> None:
        """The blocks of every row in order of position; [[5, 2], []] is the page table 5 2 0 .. / 0 0 0 .."""
        table = torch.zeros(DECODE_ROWS, self._table_width, dtype=torch.int32)
        for row, ids in enumerate(blocks):
            table[row, : len(ids)] = torch.tensor(ids, dtype=torch.int32)
        self._mesh.update(self.page_table, table)

    def read_tokens(self) -> list[int]:
        ids = self._mesh.read_replicated(self.tokens).flatten().tolist()
        return [int(i) for i in ids]

    def advance(self) -> None:
        """Every used row one position further, on the chips."""
        ttnn.plus_one(self.positions, skip_negative_entries=True)
        ttnn.plus_one(self.rope_positions)
