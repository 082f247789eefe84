"""The whole model with rounding off equals the reference, however the work is laid out.

.venv/bin/python -m pytest tests/tt/test_model.py
"""

import pytest
import torch

from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, random_ids, reference, sliceable_config, weights_of

LENGTHS = (1, 7, 31, 32, 33, 127, 128, 129, 255, 257, 1030)


def build(mesh: Mesh, n_users: int = 1, max_context: int = 2048, **options) -> Mixtral:
    weights = weights_of(reference(sliceable_config()), mesh)
    model = Mixtral(weights, mesh, PERFORMANCE, n_users * blocks_for(max_context), max_context, **options)
    model.sampler.set([GREEDY] * 32)
    return model


def scattered_blocks(n_users: int, max_context: int) -> list[list[int]]:
    """Every user's blocks, taken from all over the pool."""
    per_user = blocks_for(max_context)
    order = torch.randperm(n_users * per_user, generator=torch.Generator().manual_seed(7)).tolist()
    return [order[user * per_user : (user + 1) * per_user] for user in range(n_users)]


@pytest.mark.parametrize("n_devices", DEVICES)
def test_decode_equals_reference(n_devices: int) -> None:
    ids = random_ids(sliceable_config(), 5, 10)
    expected = reference(sliceable_config())(ids)
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, 5, 128)
        model.state.set_blocks(scattered_blocks(5, 128))
        for position in range(10):
            model.state.set_rows(ids[:, position].tolist() + [0] * 27, [position] * 5 + [-1] * 27)
            assert_equal(model.read_logits(model.decode_logits())[:5], expected[:, position])


@pytest.mark.parametrize("n_devices", DEVICES)
def test_prefill_equals_reference(n_devices: int) -> None:
    with exact_mesh(n_devices) as mesh:
        model = build(mesh)
        for length in LENGTHS:
            ids = random_ids(sliceable_config(), 1, length)
            logits = model.prefill([Prompt(3, ids[0].tolist(), scattered_blocks(1, 2048)[0])])
            assert_equal(model.read_logits(logits)[3], reference(sliceable_config())(ids)[0, -1])
