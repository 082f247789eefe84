"""Prompts side by side in a pass: what each gets is what it would get alone, fresh or going on from the cache."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from tests.tt.cases import assert_equal, exact_mesh, random_ids, sliceable_config
from tests.tt.prefill_cases import build, expected_logits, scattered_blocks

LONGEST, CONTEXT = 700, 768
BLOCKS = scattered_blocks(32, CONTEXT)
IDS = random_ids(sliceable_config(), 32, LONGEST)


def prompt(row: int, length: int, start: int = 0) -> Prompt:
    return Prompt(row, IDS[row, :length].tolist(), BLOCKS[row], start)


@pytest.fixture(scope="module", params=[1, 2, 4, 8])
def exact_model(request: pytest.FixtureRequest) -> Iterator[Mixtral]:
    with exact_mesh(request.param) as mesh:
        yield build(mesh, 32, CONTEXT)


length_and_start = st.integers(1, LONGEST).flatmap(
    lambda length: st.tuples(st.just(length), st.sampled_from([0, 0, *range(0, length, START_UNIT)]))
)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.lists(length_and_start, min_size=1, max_size=32))
def test_any_mix_equals_the_reference(exact_model: Mixtral, lengths: list[tuple[int, int]]) -> None:
    """What goes on from the cache was put there by a prefill of its beginning, in the same mix."""
    begun = [prompt(row, start) for row, (_, start) in enumerate(lengths) if start]
    if begun:
        exact_model.prefill(begun)
    logits = exact_model.read_logits(
        exact_model.prefill([prompt(row, length, start) for row, (length, start) in enumerate(lengths)])
    )
    rows = list(range(len(lengths)))
    expected = expected_logits(32, LONGEST)[rows, [length - 1 for length, _ in lengths]]
    assert_equal(logits[rows], expected)


def test_a_pass_whose_every_piece_goes_on_equals_the_reference(exact_model: Mixtral) -> None:
    """31 pieces from other starts; a 32nd would let attention read behind the pass."""
    starts = [START_UNIT * (1 + row % 5) for row in range(31)]
    exact_model.prefill([prompt(row, start) for row, start in enumerate(starts)])
    going_on = [prompt(row, start + 64 - row, start) for row, start in enumerate(starts)]
    assert [one.size for one in exact_model.passes(going_on)] == [2048]
    logits = exact_model.read_logits(exact_model.prefill(going_on))
    assert_equal(logits[:31], expected_logits(32, LONGEST)[range(31), [len(one.ids) - 1 for one in going_on]])


@pytest.mark.parametrize("n_devices", [1, 8])
def test_neighbours_change_no_bit(n_devices: int) -> None:
    """With rounding on: among other neighbours, at other rows of the pass, and going on from the cache."""
    with open_mesh(n_devices) as mesh:
        model = build(mesh, 32, CONTEXT)

        def of_row_3(*others: Prompt, start: int = 0) -> torch.Tensor:
            mine = prompt(3, 300, start)
            assert [one.size for one in model.passes([mine, *others])] == [1024]
            return model.read_logits(model.prefill([mine, *others]))[3]

        alone = of_row_3(prompt(0, 640))
        for others in ([prompt(0, 200), prompt(1, 200)], [prompt(row, 60) for row in (0, 1, 2, 4, 5)]):
            assert torch.equal(of_row_3(*others), alone)
        going_on = of_row_3(prompt(0, 640), start=128)
        for others in ([prompt(0, 500), prompt(1, 100)], [prompt(row, 90) for row in (0, 1, 2, 4, 5)]):
            assert torch.equal(of_row_3(*others, start=128), going_on)
