"""Builds every program that serving will run, so that one trace of the decode step can live while prefill passes run.

    warm_up(model)
    step = TracedStep(model.mesh, model.step)
    step.record()
    step(); model.sample(model.prefill_pass(one)); step(); ...      # and never release

A program that is built while a trace lives keeps memory that the trace writes to. What shapes the programs is the size
of a pass and the rows that attention takes of a piece that goes on from the cache, so there are few: each is run once,
on tokens that mean nothing. What lasts is all allocated before: the model's constructor does that.
"""

from collections.abc import Iterator

from models.mixtral8x7b.packing import START_UNIT, Pass, Piece, attended_rows, pass_sizes
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.model import Mixtral


def warm_up(model: Mixtral) -> None:
    """Runs `step`, and `prefill_pass` and `sample` for passes of every size and kind that fit the model's KV cache.

    Before serving: it writes over the KV cache, and leaves all rows without a user, sampling greedily.
    """
    model.sampler.set([GREEDY] * DECODE_ROWS)
    model.state.set_rows([0] * DECODE_ROWS, [0] + [NO_USER] * (DECODE_ROWS - 1))
    model.state.set_blocks([[0]] + [[]] * (DECODE_ROWS - 1))
    model.step()
    if model.choices is not None:
        model.step(model.choices)
    for one in passes_of_every_kind(model.largest_pass, model.max_context, model.cache.n_blocks):
        model.sampler.forward(model.prefill_pass(one), model.state.tokens)
    model.state.set_rows([0] * DECODE_ROWS, [NO_USER] * DECODE_ROWS)
    model.state.set_blocks([[]] * DECODE_ROWS)


def passes_of_every_kind(largest: int, max_context: int, n_blocks: int) -> Iterator[Pass]:
    """Of each size up to `largest` one with a fresh prompt, then some with pieces that go on, in which attention takes
    each number of rows once that there can be."""

    longest = min(max_context, n_blocks * KV_BLOCK)  # prompt
    most = longest - START_UNIT  # tokens of a piece that goes on

    def piece(row: int, start: int, end: int, at: int) -> Piece:
        """Each writes to blocks of its own, as far as there are enough."""
        blocks = [(at // KV_BLOCK + block) % n_blocks for block in range(blocks_for(end))]
        return Piece(Prompt(row, [0] * end, blocks, start), start, end, at)

    for size in pass_sizes(largest):
        yield Pass(size, (piece(0, 0, min(size, longest), 0),))
        pieces: list[Piece] = []
        at = 0
        for rows in _numbers_of_attended_rows(min(size, attended_rows(most)) if most > 0 else 0):
            if at + rows > size:
                yield Pass(size, tuple(pieces))
                pieces, at = [], 0
            pieces.append(piece(len(pieces), START_UNIT, START_UNIT + min(rows, most), at))
            at += rows
        if pieces:
            yield Pass(size, tuple(pieces))


def _numbers_of_attended_rows(most: int) -> Iterator[int]:
    """Of a piece that goes on, falling: [1024: 1024, 512, 256, 128]."""
    while most >= START_UNIT:
        yield most
        most //= 2
