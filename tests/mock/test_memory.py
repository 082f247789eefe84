"""The memory plan against ttnn's own allocator, at Mixtral 8x7B's full size.

.venv/bin/python -m pytest --target mock tests/mock/test_memory.py
"""

import gc
from collections.abc import Iterator
from dataclasses import replace

import pytest
import ttnn

from models.mixtral8x7b.config import MIXTRAL_8X7B, ConfigError, MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.memory_plan import BANKS, MemoryPlan, plan
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PRESETS, Precision
from models.mixtral8x7b.tt.weights import EmptyWeights
from tests.mock.program import MIXTRAL_8X22B, TINY

CONTEXT = 32768


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with open_mesh(8) as opened:
        yield opened


@pytest.fixture(params=PRESETS.values(), ids=PRESETS)
def precision(request: pytest.FixtureRequest) -> Precision:
    return request.param


def allocated(mesh: Mesh) -> int:
    return ttnn.get_memory_view(mesh.device, ttnn.BufferType.DRAM).total_bytes_allocated_per_bank


def prefill_at_capacity(mesh: Mesh, precision: Precision, n_blocks: int, pass_tokens: int) -> int:
    """Bytes per bank that stand before a prefill of the largest pass, which is then run."""
    model = Mixtral(EmptyWeights(MIXTRAL_8X7B, mesh), mesh, precision, n_blocks, CONTEXT)
    resident = allocated(mesh)
    ttnn.deallocate(model.prefill([Prompt(0, [1] * pass_tokens, range(blocks_for(pass_tokens)))]))
    return resident


def test_the_usable_dram_is_the_allocators(mesh: Mesh) -> None:
    planned = MemoryPlan(MIXTRAL_8X7B, PRESETS["performance"], 8, CONTEXT, 128)
    assert planned.usable == ttnn.get_memory_view(mesh.device, ttnn.BufferType.DRAM).total_bytes_per_bank


@pytest.mark.parametrize("pass_tokens", [16384, 4096])
def test_capacity_is_never_above_and_within_two_percent(
    mesh: Mesh, precision: Precision, pass_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the planned capacity the largest pass runs; with 2 % more it does not fit. What is resident is exact."""
    planned = MemoryPlan(MIXTRAL_8X7B, precision, 8, CONTEXT, pass_tokens)
    monkeypatch.setattr(MemoryPlan, "check", lambda self, n_blocks: None)
    most = planned.max_blocks
    resident = prefill_at_capacity(mesh, precision, most, pass_tokens)
    assert resident == sum(planned.weights().values()) + planned.decode_state() + planned.kv(most)
    gc.collect()
    with pytest.raises(RuntimeError, match="Out of Memory"):
        prefill_at_capacity(mesh, precision, most * 102 // 100, pass_tokens)
    gc.collect()
    assert allocated(mesh) == 0


RELATIVES = {
    "8x22B's sizes": (replace(MIXTRAL_8X22B, n_layers=2, vocab_size=32002), None),
    "ids that the tokenizer lacks": (replace(MIXTRAL_8X7B, n_layers=1), 31000),
    "more in attention than in experts": (replace(TINY, n_heads=128, n_kv_heads=32), None),
    "heads wider than all else": (replace(TINY, n_heads=256, head_dim=64), None),
    "two experts on a chip, wider than their hidden": (replace(TINY, dim=2048, moe=MoeConfig(16, 2)), None),
    "padding everywhere": (replace(TINY, vocab_size=999, hidden_dim=67 * 32 - 5, moe=MoeConfig(16, 3)), None),
}


@pytest.mark.parametrize(("config", "n_tokens"), RELATIVES.values(), ids=RELATIVES)
def test_relatives_stand_as_planned_and_at_capacity_they_run(
    mesh: Mesh, precision: Precision, config: MixtralConfig, n_tokens: int | None
) -> None:
    planned = plan(config, precision, 8, 10**6, 8192, 8192, n_tokens, notes_experts=True)
    most = planned.max_blocks
    model = Mixtral(EmptyWeights(config, mesh), mesh, precision, most, 8192, 8192, n_tokens, notes_experts=True)
    assert allocated(mesh) == sum(planned.weights().values()) + planned.decode_state() + planned.kv(most)
    model.sampler.forward(model.prefill([Prompt(0, [1] * 8192, range(128))]), model.state.tokens)
    model.step(model.choices)
    del model
    gc.collect()
    assert allocated(mesh) == 0


@pytest.mark.parametrize("n_layers", [1, 32])
def test_the_pools_fill_the_dram_to_the_last_block(mesh: Mesh, precision: Precision, n_layers: int) -> None:
    """Allocating them, zeros and all, takes no more at any moment than what then stands, and leaves no hole."""
    config = replace(MIXTRAL_8X7B, n_layers=n_layers)
    planned = MemoryPlan(config, precision, 8, CONTEXT, 128)
    most = BANKS * (planned.usable // planned.kv(BANKS))
    assert planned.kv(most) > 0.99 * planned.usable
    cache = KVCache(config, mesh, most, precision.kv_cache)
    assert allocated(mesh) == planned.kv(most)
    del cache
    gc.collect()
    with pytest.raises(RuntimeError, match="Out of Memory"):
        KVCache(config, mesh, most + BANKS, precision.kv_cache)
    gc.collect()
    assert allocated(mesh) == 0


def test_a_model_that_does_not_fit_is_refused_before_anything_is_allocated(mesh: Mesh, precision: Precision) -> None:
    before = allocated(mesh)
    most = plan(MIXTRAL_8X7B, precision, 8, 10**6, CONTEXT).users_at(CONTEXT)
    with pytest.raises(ConfigError, match=f"use at most {most} users of {CONTEXT} tokens"):
        Mixtral(EmptyWeights(MIXTRAL_8X7B, mesh), mesh, precision, 32 * blocks_for(CONTEXT), CONTEXT)
    assert allocated(mesh) == before
