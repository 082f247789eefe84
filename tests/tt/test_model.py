"""The whole model with rounding off equals the reference, however the work is laid out.

.venv/bin/python -m pytest tests/tt/test_model.py
"""

import pytest
import torch
import ttnn

from models.mixtral8x7b.config import ConfigError, MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, random_ids, reference, sliceable_config, weights_of

LENGTHS = (1, 7, 31, 32, 33, 127, 128, 129, 255, 257, 1030)


def build(
    mesh: Mesh, n_users: int = 1, max_context: int = 2048, config: MixtralConfig | None = None, **options
) -> Mixtral:
    weights = weights_of(reference(config or sliceable_config()), mesh)
    model = Mixtral(weights, mesh, PERFORMANCE, n_users * blocks_for(max_context), max_context, **options)
    model.sampler.set([GREEDY] * 32)
    return model


def scattered_blocks(n_users: int, max_context: int) -> list[list[int]]:
    """Every user's blocks, taken from all over the pool."""
    per_user = blocks_for(max_context)
    order = torch.randperm(n_users * per_user, generator=torch.Generator().manual_seed(7)).tolist()
    return [order[user * per_user : (user + 1) * per_user] for user in range(n_users)]


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("users", [1, 5, 32])
def test_decode_equals_reference(n_devices: int, users: int) -> None:
    ids = random_ids(sliceable_config(), users, 10)
    expected = reference(sliceable_config())(ids)
    unused = 32 - users
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, users, 128)
        model.state.set_blocks(scattered_blocks(users, 128))
        for position in range(10):
            model.state.set_rows(ids[:, position].tolist() + [0] * unused, [position] * users + [-1] * unused)
            assert_equal(model.read_logits(model.decode_logits())[:users], expected[:, position])


@pytest.mark.parametrize("n_devices", DEVICES)
def test_prefill_equals_reference(n_devices: int) -> None:
    with exact_mesh(n_devices) as mesh:
        model = build(mesh)
        for length in LENGTHS:
            ids = random_ids(sliceable_config(), 1, length)
            logits = model.prefill([Prompt(3, ids[0].tolist(), scattered_blocks(1, 2048)[0])])
            assert_equal(model.read_logits(logits)[3], reference(sliceable_config())(ids)[0, -1])


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize(
    "lengths",
    [(5, 64, 65, 100, 1), (31, 32, 33, 7, 127), (129, 255, 128, 257, 256), tuple(range(1, 128, 4))],
    ids=["5 short", "5 of a tile", "5 long", "32"],
)
def test_users_of_different_lengths_prefilled_together_equal_each_alone(n_devices: int, lengths: tuple) -> None:
    users = len(lengths)
    prompts = [random_ids(sliceable_config(), 1, length, seed=length) for length in lengths]
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, users, 320)
        rows = [(31 - 7 * user) % 32 for user in range(users)]
        by_row = dict(zip(rows, prompts, strict=True))
        placed = zip(rows, prompts, scattered_blocks(users, 320), strict=True)
        for group in model.passes([Prompt(row, ids[0].tolist(), blocks) for row, ids, blocks in placed]):
            logits = model.read_logits(model.prefill(group))
            for prompt in group:
                assert_equal(logits[prompt.row], reference(sliceable_config())(by_row.pop(prompt.row))[0, -1])
    assert not by_row


@pytest.mark.parametrize("n_devices", DEVICES)
def test_chunked_prefill_equals_reference_and_decode_goes_on_from_it(n_devices: int) -> None:
    """Chunks of 256; the text of every length is a beginning of the longest, as causality allows."""
    lengths = (1, 7, 33, 128, 255, 256, 257, 512, 700, 1030)
    ids = random_ids(sliceable_config(), 1, max(lengths) + 3)
    expected = reference(sliceable_config())(ids)[0]
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, max_pass_tokens=256)
        blocks = scattered_blocks(1, 2048)
        model.state.set_blocks(blocks)
        for length in lengths:
            logits = model.prefill([Prompt(0, ids[0, :length].tolist(), blocks[0])])
            assert_equal(model.read_logits(logits)[0], expected[length - 1])
            for position in range(length, length + 3):
                model.state.set_rows([int(ids[0, position])] + [0] * 31, [position] + [-1] * 31)
                assert_equal(model.read_logits(model.decode_logits())[0], expected[position])


@pytest.mark.parametrize("routing", list(Routing))
def test_both_routing_modes_equal_reference(routing: Routing) -> None:
    config = sliceable_config(moe=MoeConfig(8, 2, routing))
    ids = random_ids(config, 1, 9)
    expected = reference(config)(ids)[0]
    with exact_mesh(8) as mesh:
        model = build(mesh, 1, 128, config=config)
        assert_equal(model.read_logits(model.prefill([Prompt(0, ids[0].tolist(), [0])]))[0], expected[-1])
        model.state.set_blocks([[1]])
        for position in range(9):
            model.state.set_rows([int(ids[0, position])] + [0] * 31, [position] + [-1] * 31)
            assert_equal(model.read_logits(model.decode_logits())[0], expected[position])


def test_the_cache_of_a_prefill_is_that_of_a_decode() -> None:
    """Token by token or in one pass, the same keys and values stand in the same blocks."""
    ids = random_ids(sliceable_config(), 1, 70)[0].tolist()
    pools = []
    with exact_mesh(8) as mesh:
        for prefill in (True, False):
            model = build(mesh, 1, 128)
            model.state.set_blocks([[1, 0]])
            if prefill:
                model.read_logits(model.prefill([Prompt(0, ids, [1, 0])]))
            else:
                for position, token in enumerate(ids):
                    model.state.set_rows([token] + [0] * 31, [position] + [-1] * 31)
                    model.read_logits(model.decode_logits())
            pools.append(
                [
                    torch.stack([ttnn.to_torch(part) for part in ttnn.get_device_tensors(pool)])
                    for pool in model.cache.keys + model.cache.values
                ]
            )
    for ours, theirs in zip(*pools, strict=True):
        for block, used in ((1, 64), (0, 6)):
            assert_equal(ours[:, block, :, :used], theirs[:, block, :, :used])


def test_a_model_that_does_not_divide_over_the_chips_is_refused() -> None:
    for changes, message in (
        ({"moe": MoeConfig(6, 2)}, "moe.num_experts is 6, which does not divide over 8 chips"),
        ({"n_kv_heads": 4}, "n_kv_heads is 4, which does not divide over 8 chips"),
        ({"vocab_size": 500}, "vocab_size is 500, which does not divide over 8 chips in columns of 32"),
        ({"head_dim": 16}, "head_dim is 16; ttnn needs a multiple of 32"),
    ):
        with exact_mesh(8) as mesh, pytest.raises(ConfigError, match=message):
            build(mesh, config=sliceable_config(**changes))


def test_a_context_beyond_the_model_is_refused() -> None:
    with (
        exact_mesh(1) as mesh,
        pytest.raises(ConfigError, match="5000 tokens is too long; .* made for 4096"),
    ):
        build(mesh, 1, 5000)
