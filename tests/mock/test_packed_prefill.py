"""A pass of prefill at full size builds its programs once: what stands in it shapes none of them."""

import random
from collections.abc import Iterator

import pytest

from models.mixtral8x7b.packing import START_UNIT, Pass, Piece, attended_rows, pack, pass_sizes
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from tests.mock.program import TWO_LAYERS, Section, build

CONTEXT = 32768


@pytest.fixture(scope="module")
def model(mesh: Mesh) -> Mixtral:
    return build(Section(TWO_LAYERS, "performance", 32, CONTEXT, ()), mesh)


def mixes(size: int, count: int) -> Iterator[Pass]:
    """A pass of this size with one prompt in it, then with others at random."""
    generator = random.Random(size)
    for number in range(count):
        prompts: list[Prompt] = []
        left = size // KV_BLOCK
        while left and len(prompts) < 32:
            blocks = generator.randint(1, left) if number else left
            length = blocks * KV_BLOCK - generator.randrange(KV_BLOCK)
            prompts.append(Prompt(len(prompts), [1] * length, range(512 * len(prompts), 512 * len(prompts) + blocks)))
            left -= blocks
        yield next(one for one in pack(prompts) if one.size == size)


def going_on(size: int, rows: int) -> Pass:
    """A pass with one piece that goes on, of which attention takes so many rows."""
    n_tokens = rows if rows == START_UNIT else rows // 2 + KV_BLOCK
    prompt = Prompt(0, [1] * (START_UNIT + n_tokens), range(blocks_for(START_UNIT + n_tokens)), START_UNIT)
    piece = Piece(prompt, START_UNIT, len(prompt.ids), 0)
    assert attended_rows(piece.rows) == rows
    return Pass(size, (piece,))


def test_programs(model: Mixtral) -> None:
    """For each size of a pass some, for each further mix none; for each size and number of attended rows some more."""

    def built(one: Pass) -> int:
        before = model.mesh.device.num_program_cache_entries()
        model.sampler.forward(model.prefill_pass(one), model.state.tokens)
        return model.mesh.device.num_program_cache_entries() - before

    first_of_size, further, continued, again = [], [], [], []
    for size in pass_sizes():
        first, *others = map(built, mixes(size, 4))
        first_of_size.append(first)
        further += others
        for rows in (rows for n in range(7, 15) if (rows := 1 << n) <= size):
            continued.append(built(going_on(size, rows)))
            again.append(built(going_on(size, rows)))
    assert first_of_size == [44, 25, 25, 50, 43, 43, 43], "the head is in the first; from 2048 on rows are listed"
    assert set(further) == {0}
    assert len(continued) == 35
    assert sum(continued) == 2 * 35 + 2 * 8, "two for each size and number of rows, and two for each number of rows"
    assert set(again) == {0}
