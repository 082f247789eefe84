"""What must hold beside the model at full size: small models, order of programs, clear words where it does not fit."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import ttnn

from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.target import can_trace
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.mesh import SEMAPHORE_REGION_BYTES, Mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE, preset
from tests.mock.program import MIXTRAL_8X7B, TINY, TWO_LAYERS, Section, build, prompts, set_rows


@pytest.mark.parametrize("first", ["decode", "prefill"])
def test_decode_and_prefill_leave_room_for_each_other(mesh: Mesh, first: str) -> None:
    """A semaphore that decode leaves in the middle of L1 would leave no piece long enough for prefill's norm."""
    section = Section(TWO_LAYERS, "performance", 32, 16384, ())
    model = build(section, mesh)
    for turn in range(4):
        if (turn % 2 == 0) == (first == "decode"):
            set_rows(model, section, 32)
            model.step()
        else:
            model.sampler.forward(model.prefill(prompts((1024,))), model.state.tokens)


def test_collectives_keep_their_semaphores_in_their_own_region(mesh: Mesh) -> None:
    """A gather by itself, a scatter because it is asked to; one program for each shape, kept as long as the mesh."""
    regions = (ttnn.BufferType.L1_SMALL, ttnn.BufferType.L1)

    def taken() -> list[int]:
        return [ttnn.get_memory_view(mesh.device, region).total_bytes_allocated_per_bank for region in regions]

    region = ttnn.get_memory_view(mesh.device, ttnn.BufferType.L1_SMALL).total_bytes_per_bank
    assert region == SEMAPHORE_REGION_BYTES
    for join, rows, bytes_per_program in ((mesh.gather_rows, 32, 64), (mesh.sum_and_split_rows, 256, 128)):
        small, large = taken()
        for factor, programs in ((71, 1), (72, 2), (71, 2)):  # sizes that no other test has
            x = ttnn.empty([1, 1, factor * rows, 256], ttnn.bfloat16, ttnn.TILE_LAYOUT, mesh.device)
            ttnn.deallocate(join(x))
            assert taken() == [small + programs * bytes_per_program, large]


def test_what_the_norm_needs_is_more_than_half_of_l1(mesh: Mesh) -> None:
    """Why the test above can fail: with one long-lived kilobyte in the middle the same norm is refused."""
    section = Section(TWO_LAYERS, "performance", 1, 2048, ())
    model = build(section, mesh)
    grid = mesh.device.compute_with_storage_grid_size()

    def l1(kilobytes_per_core: int) -> ttnn.Tensor:
        shape = [grid.x * grid.y * kilobytes_per_core, 512]
        return ttnn.empty(shape, ttnn.bfloat16, ttnn.ROW_MAJOR_LAYOUT, mesh.device, ttnn.L1_MEMORY_CONFIG)

    upper = l1(600)
    wedge = l1(1)
    ttnn.deallocate(upper)
    with pytest.raises(RuntimeError, match="clash with L1 buffers"):
        model.prefill(prompts((1024,)))
    ttnn.deallocate(wedge)
    model.prefill(prompts((1024,)))


@pytest.mark.parametrize("precision", ["performance", "accuracy"])
def test_the_tiny_checkpoints_model(mesh: Mesh, precision: str) -> None:
    section = Section(TINY, precision, 32, 32768, ())
    model = build(section, mesh)
    for occupancy in (1, 32):
        set_rows(model, section, occupancy)
        model.step()
    for lengths in ((1,), (128,), (4096,), (20000,), (7, 100, 255)):
        model.sampler.forward(model.prefill(prompts(lengths)), model.state.tokens)
    assert len(list(Generator(model, trace=False).generate([[1, 2, 3]] * 32, max_new_tokens=3))) == 3


@pytest.mark.parametrize("context", [64, 150, 20000])
def test_one_user_of_a_context_that_ends_inside_a_chunk_of_keys(mesh: Mesh, context: int) -> None:
    """The page table's row is longer than the user's blocks; ttnn wants as many blocks in the cache."""
    section = Section(TINY, "performance", 1, context, ())
    model = build(section, mesh)
    set_rows(model, section, 1)
    model.step()


def test_32_users_of_32k_do_not_fit(mesh: Mesh) -> None:
    """The model refuses before it loads anything, and it is right: the allocator has no room for the cache."""
    section = Section(MIXTRAL_8X7B, "performance", 32, 32768, ())
    with pytest.raises(ConfigError):
        build(section, mesh)
    model = build(replace(section, n_users=1), mesh)
    with pytest.raises(
        RuntimeError, match="Out of Memory: Not enough space to allocate .* DRAM buffer across 12 banks"
    ):
        KVCache(MIXTRAL_8X7B, mesh, section.n_blocks, PERFORMANCE.kv_cache)
    model.step()


def test_the_mock_records_no_trace(mesh: Mesh) -> None:
    """So its generations are eager, and no record has a trace's calls. ttnn has traces in fast dispatch only."""
    assert not can_trace("mock")
    with pytest.raises(RuntimeError, match="Not supported for slow dispatch"):
        ttnn.begin_trace_capture(mesh.device, cq_id=0)


def test_what_does_not_exist_is_named(mesh: Mesh) -> None:
    with pytest.raises(ConfigError, match="precision is 'best'; expected one of performance, accuracy, mixed, bfp4"):
        preset("best")
    with pytest.raises(ConfigError, match="a context of 40000 tokens is too long"):
        build(Section(TINY, "performance", 1, 40000, ()), mesh)


@pytest.mark.parametrize("grid", [(8, 7), (7, 8)])
def test_a_smaller_grid_gets_one_sentence(grid: tuple[int, int]) -> None:
    columns, rows = grid
    device = SimpleNamespace(
        get_num_devices=lambda: 8, compute_with_storage_grid_size=lambda: SimpleNamespace(x=columns, y=rows)
    )
    with pytest.raises(ConfigError, match=f"the chips offer {columns}x{rows} worker cores; 8x8 are needed"):
        Mesh(device)
