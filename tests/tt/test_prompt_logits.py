"""The logits of every position of the prompts of a pass equal the reference's, rounding off."""

import pytest
import torch
import ttnn

import ttnn_cpu
from models.mixtral8x7b.packing import Piece
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.mesh import open_mesh
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, random_ids, sliceable_config
from tests.tt.prefill_cases import build, expected_logits, scattered_blocks

CONTEXT, LONGEST = 768, 700
LENGTHS = (1, 31, 33, 64, 129, 300, 700)
BLOCKS = scattered_blocks(len(LENGTHS), CONTEXT)
IDS = random_ids(sliceable_config(), len(LENGTHS), LONGEST)
ROWS = (5, 0, 31, 7, 30, 1, 12)


def prompt(user: int, length: int, start: int = 0) -> Prompt:
    return Prompt(ROWS[user], IDS[user, :length].tolist(), BLOCKS[user], start)


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("max_pass_tokens", [256, 16384])
def test_every_position_equals_the_reference(n_devices: int, max_pass_tokens: int) -> None:
    """Several prompts in a pass, cut over passes, then going on from the cache; each position is told once."""
    expected = expected_logits(len(LENGTHS), LONGEST)
    vocab = sliceable_config().vocab_size
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, len(LENGTHS), CONTEXT, max_pass_tokens=max_pass_tokens)

        def check(prompts: list[Prompt]) -> None:
            told = {each.row: torch.full((len(each.ids), vocab), torch.nan) for each in prompts}

            def take(piece: Piece, position: int, logits: torch.Tensor) -> None:
                rows = told[piece.prompt.row][position : position + len(logits)]
                assert rows.shape == logits.shape
                assert rows.isnan().all(), "told once"
                rows[:] = logits

            for one in model.passes(prompts):
                ended = [piece.prompt.row for piece in one.pieces if piece.ends_prompt]
                last = model.read_logits(model.prefill_pass(one, take))
                for row in ended:
                    assert torch.equal(last[row], told[row][-1]), "what decode goes on from is one of them"
            for each in prompts:
                assert told[each.row][: each.start].isnan().all()
                wanted = expected[ROWS.index(each.row), each.start : len(each.ids)]
                assert_equal(told[each.row][each.start :], wanted)

        check([prompt(user, length) for user, length in enumerate(LENGTHS)])
        check([prompt(4, 129, 128), prompt(5, 300, 128), prompt(6, 650, 256), prompt(3, 64)])


def test_a_pass_that_is_not_asked_makes_no_further_call() -> None:
    """And one that is makes the calls of the last rows, once more for each 32 positions of a prompt."""
    with ttnn_cpu.specs_only(), open_mesh(8) as mesh:
        model = build(mesh, 2, CONTEXT)
        (one,) = model.passes([prompt(0, 100), prompt(1, 65)])
        names = []
        for take in (None, None, lambda *_: None):
            with ttnn_cpu.record(ttnn) as calls:
                ttnn.deallocate(model.prefill_pass(one, take))
            names.append([call.name for call in calls])
        plain, again, asked = names
        assert plain == again
        head = plain[len(plain) - plain[::-1].index("matmul") - 1 :]
        slices = 4 + 3
        assert len(asked) - len(plain) == slices * (len(head) + 3), "from_torch, to_device and to_torch, and the head"
