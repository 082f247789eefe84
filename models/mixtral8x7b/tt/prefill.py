"""The tensors of one prefill pass: which token, position and KV block each of its rows has."""

from collections.abc import Iterator, Mapping, Sequence

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.packing import LARGEST_PASS, MOST_PIECES, Pass, Piece, attended_rows
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.row_list import RowLister
from models.mixtral8x7b.tt.steps import Continuation, PrefillPass

# Rows of a pass from which on each expert runs on its own rows only. A block of rows reads all of an expert's weights,
# about as long as 256 rows compute [187 MB at 230 GB/s, 90 GFLOP]: below 2048 rows, where top-2 of 8 gives an expert
# 512, the blocks that are never full, the gathering and the zeros eat what is saved.
ROUTED_FROM = 2048
SKIP = -1  # entry of a table for rows that are nobody's: they are thrown away


def check(prompts: Sequence[Prompt], vocab_size: int, max_context: int) -> None:
    """Raises RequestError for prompts of which a pass would make something wrong without a word."""
    rows = sorted(prompt.row for prompt in prompts)
    if not all(0 <= row < DECODE_ROWS for row in rows) or len(set(rows)) < len(rows):
        raise RequestError(f"prompts have the rows {rows}; expected different ones from 0 to {DECODE_ROWS - 1}")
    for prompt in prompts:
        whose, length = f"the prompt in row {prompt.row}", len(prompt.ids)
        if length > max_context:
            raise RequestError(f"{whose} has {length} tokens; expected at most the context of {max_context}")
        if len(prompt.blocks) < blocks_for(length):
            raise RequestError(
                f"{whose} has {len(prompt.blocks)} blocks; its {length} tokens need {blocks_for(length)}"
            )
        for token in prompt.ids:
            if not 0 <= token < vocab_size:
                raise RequestError(f"{whose} has token id {token}; the vocabulary is 0 to {vocab_size - 1}")


class PrefillInputs:
    """Of a model whose users have at most max_context positions. Rows of padding are token 0 at position 0."""

    def __init__(
        self, of: Pass, config: MixtralConfig, mesh: Mesh, precision: Precision, rope: Rope, max_context: int
    ) -> None:
        ids, positions = torch.zeros(1, of.size, dtype=torch.int32), torch.zeros(1, of.size, dtype=torch.int32)
        fill = torch.full((1, of.size // KV_BLOCK), SKIP, dtype=torch.int32)
        windows = torch.full((MOST_PIECES + 1,), of.size, dtype=torch.int32)
        last: dict[int, int] = {}
        for number, piece in enumerate(of.pieces):
            rows = slice(piece.at, piece.at + piece.end - piece.start)
            ids[0, rows] = torch.tensor(piece.prompt.ids[piece.start : piece.end], dtype=torch.int32)
            positions[0, rows] = torch.arange(piece.start, piece.end, dtype=torch.int32)
            first = piece.at // KV_BLOCK
            own = piece.prompt.blocks[piece.start // KV_BLOCK : blocks_for(piece.end)]
            fill[0, first : first + len(own)] = torch.tensor(own, dtype=torch.int32)
            windows[number : number + 2] = torch.tensor([piece.at, piece.at + piece.rows], dtype=torch.int32)
            if piece.ends_prompt:
                last[piece.prompt.row] = rows.stop - 1
        windows[MOST_PIECES] = of.size
        self.ids = mesh.put(ids[None, None], ttnn.uint32, placement=Placement.SPLIT_COLUMNS)
        self.select_last = row_selection(last, of.size, mesh)
        self._mesh, self._max_context = mesh, max_context
        self._queries = (config.n_heads // mesh.n_devices, config.head_dim)
        self.layout = PrefillPass(
            size=of.size,
            rotation=rope.for_prefill(mesh.put(positions, ttnn.uint32)),
            windows=mesh.put(windows, ttnn.int32),
            fill_table=mesh.put(fill, ttnn.int32),
            continuations=tuple(self._continuation(piece, of.size) for piece in of.pieces if piece.start),
            lister=RowLister(of.size, mesh, precision.router) if of.size >= ROUTED_FROM else None,
        )

    def deallocate(self) -> None:
        self.layout.rotation.deallocate()
        for tensor in (self.ids, self.select_last, self.layout.windows, self.layout.fill_table):
            ttnn.deallocate(tensor)
        for piece in self.layout.continuations:
            for tensor in (piece.first_row, piece.end_row, piece.page_table, piece.start, piece.put_back):
                ttnn.deallocate(tensor)
        if self.layout.lister:
            self.layout.lister.deallocate()

    def _continuation(self, piece: Piece, size: int) -> Continuation:
        rows = attended_rows(piece.rows)
        table = torch.zeros(1, continued_table_width(self._max_context), dtype=torch.int32)
        own = piece.prompt.blocks[: blocks_for(piece.end)]
        table[0, : len(own)] = torch.tensor(own, dtype=torch.int32)
        back = torch.full((1, rows // KV_BLOCK), SKIP, dtype=torch.int32)
        first, n_blocks = piece.at // KV_BLOCK, piece.rows // KV_BLOCK
        back[0, :n_blocks] = torch.arange(first, first + n_blocks, dtype=torch.int32)
        heads, head_dim = self._queries
        return Continuation(
            rows=rows,
            first_row=self._corner(0, piece.at, 0),
            end_row=self._corner(heads, piece.at + rows, head_dim),
            page_table=self._mesh.put(table, ttnn.int32),
            start=self._mesh.put(torch.tensor([piece.start], dtype=torch.int32), ttnn.int32),
            put_back=self._mesh.put(back, ttnn.int32),
        )

    def _corner(self, *at: int) -> ttnn.Tensor:
        return self._mesh.put(torch.tensor([at[0] and 1, *at], dtype=torch.int32), ttnn.uint32)


def row_selection(rows: Mapping[int, int], size: int, mesh: Mesh) -> ttnn.Tensor:
    """What puts rows of a pass of this size into rows of a decode residual, and 0 into the others: {3: 70} puts row 70
    into row 3. A matrix of 0s and 1s, bf16 [1, 1, 32, T/n]: on each chip the columns of the rows that it has."""
    chosen_RT = torch.zeros(1, 1, DECODE_ROWS, size)
    for to, row in rows.items():
        chosen_RT[..., to, row] = 1
    return mesh.put(chosen_RT, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS)


def all_positions(piece: Piece, size: int, mesh: Mesh) -> Iterator[tuple[int, int, ttnn.Tensor]]:
    """A tile of a piece's positions after the other: the first, how many, and their `row_selection`."""
    for start in range(piece.start, piece.end, DECODE_ROWS):
        first, n_rows = piece.at + start - piece.start, min(DECODE_ROWS, piece.end - start)
        yield start, n_rows, row_selection({row: first + row for row in range(n_rows)}, size, mesh)


def continued_table_width(max_context: int) -> int:
    """Blocks in the page table of a continuation, in which attention also looks up rows behind the piece.

    The operation wants rows of whole 32 bytes.
    """
    return -(-blocks_for(max_context) // 8) * 8 + LARGEST_PASS // KV_BLOCK
