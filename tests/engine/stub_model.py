"""A model of the engine without arithmetic, in which every mistake of position, block, order or row shows.

Its KV cache holds the tokens themselves. What it draws is a hash of the whole context, read back through the blocks
that the engine named, of the seed and of the token's index: `answer` says what a request must get, whoever else is
there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from models.mixtral8x7b.engine.model import ROWS, Choices, ExpertSizes, Row, TakeLogits
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.packing import MOST_PIECES, START_UNIT, Pass, attended_rows, pass_sizes
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for

VOCAB = 1000
EXPERTS = ExpertSizes(3, 8, 2)
TOLD = 32  # positions of a prompt whose logits are told at a time
CONTEXT = 32768
WEIGHTS = np.random.default_rng(0).integers(1, 2**63, CONTEXT, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def drawn(context_hash: int, seed: int, index: int) -> int:
    return hash((context_hash, seed, index)) % VOCAB


def context_hash(ids: np.ndarray) -> int:
    return int((ids.astype(np.uint64) * WEIGHTS[: len(ids)]).sum(dtype=np.uint64))


def chosen(context_hash: int) -> list[list[int]]:
    """The experts of its last token."""
    return [
        [hash((context_hash, layer, rank)) % EXPERTS.experts for rank in range(EXPERTS.per_token)]
        for layer in range(EXPERTS.layers)
    ]


def answer(request: Request, shift: int = 0) -> list[int]:
    """Alone, and without a cache: all its tokens. With `shift` each is so many ids after the one that was drawn."""
    found: list[int] = []
    state = context_hash(np.array(request.ids))
    while not found or (len(found) < request.max_new_tokens and found[-1] not in request.stop_ids):
        if found:
            weight = int(WEIGHTS[len(request.ids) + len(found) - 1])
            state = (state + found[-1] * weight) % 2**64
        found.append((drawn(state, request.sampling.seed, len(found)) + shift) % VOCAB)
    return found


class StubModel:
    """`before` is called ahead of every pass ("pass", rows) and step ("step", rows that decode)."""

    vocab_size = VOCAB
    max_context = CONTEXT
    experts: ExpertSizes | None = EXPERTS

    def __init__(
        self,
        n_blocks: int,
        largest_pass: int = 16384,
        before: Callable[[str, int], None] = lambda what, rows: None,
    ) -> None:
        assert largest_pass in pass_sizes()
        self.n_blocks, self.largest_pass, self._before = n_blocks, largest_pass, before
        self._kv = np.full((n_blocks, KV_BLOCK), -1, dtype=np.int64)
        self._rows: list[Row | None] = [None] * ROWS
        self._told = False  # what the rows do, since the last pass or step
        self._step: list[int] | None = None  # started and not read
        self._logits_of: dict[int, int] = {}
        self._experts: dict[int, list[list[int]]] = {}
        self.experts_read: list[list[int]] = []  # by step in which somebody asked, the rows

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        assert self._step is None, "a step has not been read"
        assert len(rows) == ROWS
        self._rows = [row and row._replace(blocks=tuple(row.blocks)) for row in rows]
        self._told = True

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        self._before("pass", of.size)
        assert self._step is None
        assert self._told, "random numbers of the rows are not set"
        self._told = False
        assert of.size in pass_sizes(self.largest_pass)
        assert 1 <= len(of.pieces) <= MOST_PIECES
        tokens, free_from = [-1] * ROWS, 0
        for piece in of.pieces:
            prompt = piece.prompt
            assert piece.at >= free_from
            assert piece.at % KV_BLOCK == 0 == piece.start % START_UNIT
            assert piece.start < piece.end
            assert not piece.start or piece.at + attended_rows(piece.rows) <= of.size
            free_from = piece.at + piece.rows
            self._write(prompt.blocks, piece.start, prompt.ids[piece.start : piece.end])
            if take := take_logits.get(prompt.row):
                for start in range(piece.start, piece.end, TOLD):
                    ends = range(start + 1, min(start + TOLD, piece.end) + 1)
                    take(start, np.stack([self.logits_after(prompt.ids[:end]) for end in ends]))
            if piece.ends_prompt:
                row = self._rows[prompt.row]
                assert row is not None
                assert row.position is None
                tokens[prompt.row] = self._draw(row, prompt.blocks, piece.end)
        assert free_from <= of.size
        self._logits_of = {row: token for row, token in enumerate(tokens) if token >= 0}
        return tokens

    def step(self) -> None:
        self._before("step", sum(row is not None and row.position is not None for row in self._rows))
        assert self._step is None
        self._step, self._told, self._logits_of, self._experts = [-1] * ROWS, False, {}, {}
        for number, row in enumerate(self._rows):
            if row is None or row.position is None:
                continue
            assert len(row.blocks) >= blocks_for(row.position + 1), "the position has no block"
            self._write(row.blocks, row.position, [row.token])
            token = self._draw(row, row.blocks, row.position + 1)
            if row.reads_experts:
                self._experts[number] = chosen(self._context_hash(row.blocks, row.position + 1))
            self._rows[number] = row._replace(token=token, position=row.position + 1, next_index=row.next_index + 1)
            self._step[number] = self._logits_of[number] = token

    def read_tokens(self) -> list[int]:
        assert self._step is not None
        tokens, self._step = self._step, None
        return tokens

    def read_logits(self) -> np.ndarray:
        assert any(row and row.reads_logits for row in self._rows)
        logits = np.zeros((ROWS, VOCAB), dtype=np.float32)
        for row, token in self._logits_of.items():
            logits[row, token] = 1
        return logits

    def read_experts(self, rows: Collection[int]) -> Mapping[int, Choices]:
        self.experts_read.append(list(rows))
        return {row: self._experts[row] for row in rows}

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        assert self._step is None
        for number, token in tokens.items():
            row = self._rows[number]
            assert row is not None
            assert row.reads_logits
            self._rows[number] = row._replace(token=token)

    def logits_after(self, ids: Sequence[int]) -> np.ndarray:
        """Of the position of the last one, as far as a prompt is told."""
        logits = np.zeros(VOCAB, dtype=np.float32)
        logits[drawn(context_hash(np.array(ids)), 0, 0)] = 1
        return logits

    def _write(self, blocks: Sequence[int], start: int, ids: Sequence[int]) -> None:
        first, n_blocks = start // KV_BLOCK, blocks_for(start + len(ids)) - start // KV_BLOCK
        own = np.array(blocks[first : first + n_blocks])
        content = self._kv[own].reshape(-1)
        content[start - first * KV_BLOCK :][: len(ids)] = ids
        self._kv[own] = content.reshape(-1, KV_BLOCK)

    def _draw(self, row: Row, blocks: Sequence[int], n_tokens: int) -> int:
        return drawn(self._context_hash(blocks, n_tokens), row.sampling.seed, row.next_index)

    def _context_hash(self, blocks: Sequence[int], n_tokens: int) -> int:
        return context_hash(self._kv[np.array(blocks[: blocks_for(n_tokens)])].reshape(-1)[:n_tokens])
