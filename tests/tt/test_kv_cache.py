"""The KV pools hold zeros before anything is written to them: attention reads whole chunks of keys and masks what is no
one's by adding to scores, which garbage survives."""

from collections.abc import Callable

import pytest
import torch
import ttnn

from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from tests.tt.cases import random_ids, sliceable_config
from tests.tt.prefill_cases import build, scattered_blocks

CONTEXT = 192
PROMPTS = {3: 1, 8: 70, 30: 128}  # row: length of its prompt
NEWCOMER = 17  # starts at position 0, in blocks that nothing has written to


def logits_of_all_users(model: Mixtral) -> torch.Tensor:
    """Of the prefills, then of three decode steps in which a row joins; no one else: [4, users, vocab_size]."""
    ids = random_ids(model.config, 32, CONTEXT).tolist()
    rows = [*PROMPTS, NEWCOMER]
    blocks = dict(zip(rows, scattered_blocks(len(rows), CONTEXT), strict=True))
    prompts = [Prompt(row, ids[row][:length], blocks[row]) for row, length in PROMPTS.items()]
    model.state.set_blocks([blocks.get(row, []) for row in range(32)])
    seen = [model.read_logits(model.prefill(prompts))[rows]]
    seen[0][rows.index(NEWCOMER)] = 0
    for step in range(3):
        places = {row: length + step for row, length in PROMPTS.items()} | {NEWCOMER: step}
        positions = [places.get(row, NO_USER) for row in range(32)]
        model.state.set_rows([ids[row][max(0, at)] for row, at in enumerate(positions)], positions)
        seen.append(model.read_logits(model.decode_logits())[rows])
    return torch.stack(seen)


def fill(model: Mixtral, make: Callable[[ttnn.Tensor], ttnn.Tensor]) -> None:
    for pools in (model.cache.keys, model.cache.values):
        pools[:] = [make(pool) for pool in pools]


@pytest.mark.parametrize("n_devices", [1, 8])
def test_logits_are_those_of_pools_of_zeros_bit_for_bit(n_devices: int) -> None:
    with open_mesh(n_devices) as mesh:
        model = build(mesh, 32, CONTEXT)
        fresh = logits_of_all_users(model)
        fill(model, lambda pool: ttnn.zeros(pool.shape, pool.dtype, pool.layout, mesh.device))
        assert fresh.isfinite().all()
        assert torch.equal(fresh, logits_of_all_users(model))


def test_garbage_in_the_pools_would_show() -> None:
    with open_mesh(8) as mesh:
        model = build(mesh, 32, CONTEXT)
        fill(model, lambda pool: ttnn.empty(pool.shape, pool.dtype, pool.layout, mesh.device))
        assert not logits_of_all_users(model)[1:].isfinite().all()


def test_every_pool_holds_zeros_and_memory_of_its_own() -> None:
    with open_mesh(8) as mesh:
        cache = KVCache(sliceable_config(), mesh, 5, ttnn.bfloat8_b)
        pools = [*cache.keys, *cache.values]
        assert len(pools) == len({id(pool.storage) for pool in pools}) == 4
        for pool in pools:
            assert (pool.shape, pool.dtype, pool.layout) == ([5, 1, 64, 32], ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
            assert all(not ttnn.to_torch(part).any() for part in ttnn.get_device_tensors(pool))
