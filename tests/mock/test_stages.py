"""Mixtral 8x22B, which no T3000 holds, as two stages of 28 layers on the real ttnn at full size."""

from collections.abc import Iterator

import pytest
import torch
import ttnn

from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.engine.model import ROWS, Row
from models.mixtral8x7b.packing import pack
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.stage import Drawn, Stage
from models.mixtral8x7b.tt.weights import EmptyWeights
from tests.mock.program import MIXTRAL_8X22B

CONTEXT = 8192
N_BLOCKS = blocks_for(CONTEXT)  # of each of two groups


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with open_mesh(8) as opened:
        yield opened


def stage(mesh: Mesh, layers: range) -> Stage:
    return Stage(EmptyWeights(MIXTRAL_8X22B, mesh), mesh, PERFORMANCE, layers, 2, N_BLOCKS, CONTEXT)


@pytest.mark.parametrize("layers", [range(28), range(28, 56)], ids=["first", "last"])
def test_half_of_8x22b_fits(mesh: Mesh, layers: range) -> None:
    half = stage(mesh, layers)
    assert (half.is_first, half.is_last) == (layers.start == 0, layers.stop == 56)


def test_the_whole_does_not(mesh: Mesh) -> None:
    with pytest.raises(ConfigError, match="GB"):
        stage(mesh, range(56))


@pytest.mark.parametrize("layers", [range(2), range(54, 56)], ids=["first", "last"])
def test_programs_of_two_layers(mesh: Mesh, layers: range) -> None:
    """A pass and a step of each kind of stage; nothing is computed, every call is the real library's."""
    own = stage(mesh, layers)
    prompt = Prompt(0, [1] * 300, list(range(blocks_for(300))))
    (one,) = pack([prompt])
    row = Row(GREEDY, 0, 1, 300, prompt.blocks, True, False)
    own.set_rows(1, [row, *[None] * (ROWS - 1)])
    dim = MIXTRAL_8X22B.dim
    of_pass = own.prefill(1, one, None if own.is_first else torch.zeros(one.size, dim), [0])
    of_step = own.step(1, [1] * ROWS if own.is_first else torch.zeros(ROWS, dim))
    if own.is_first:
        assert isinstance(of_pass, torch.Tensor)
        assert isinstance(of_step, torch.Tensor)
        assert (of_pass.shape, of_step.shape) == ((one.size, dim), (ROWS, dim))
    else:
        assert isinstance(of_pass, Drawn)
        assert isinstance(of_step, Drawn)
        assert len(of_pass.ids) == len(of_step.ids) == ROWS
        assert sum(len(logits) for _, _, logits in of_pass.of_prompts) == 300
    ttnn.synchronize_device(mesh.device)
