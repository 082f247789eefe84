"""Eight simulated chips: a T3000 with its ring fabric. Each test states its seconds, kernels cached."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import ttnn

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.sampler import Sampler
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests import tiny_texts
from tests.sim.stories import Work, check_agreement
from ttnn_cpu.chip_ring import slice_sum
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.enums import DataType

pytestmark = [pytest.mark.router_and_sampler, pytest.mark.timeout(0)]
ROWS = 32


@pytest.fixture(scope="module")
def model(repacked: Path, mesh: Mesh) -> Mixtral:
    return Mixtral(CheckpointWeights(RepackedCheckpoint(repacked), mesh, None), mesh, PERFORMANCE, 32, 64)


def on_every_chip(tensor: ttnn.Tensor) -> list[torch.Tensor]:
    return [ttnn.to_torch(part).float() for part in ttnn.get_device_tensors(tensor)]


def test_the_joins_of_whole_numbers(mesh: Mesh) -> None:
    """2 s: sums and gathers of small whole numbers are exact, and alike on all chips, twice in a row."""
    generator = torch.Generator().manual_seed(1)
    parts = torch.randint(-8, 9, (8, 1, 32, 256), generator=generator).float()
    for _ in range(2):
        x = mesh.put(parts, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, ttnn.L1_MEMORY_CONFIG)
        for part in on_every_chip(mesh.sum_over_devices(x, ttnn.L1_MEMORY_CONFIG)):
            assert torch.equal(part[0], parts.sum(0))
        rows = mesh.put(parts, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
        for part in on_every_chip(mesh.gather_rows(rows)):
            assert torch.equal(part[0, 0], parts.flatten(0, 2))
        columns = mesh.put(parts, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, ttnn.L1_MEMORY_CONFIG)
        for part in on_every_chip(mesh.gather_columns(columns, ttnn.L1_MEMORY_CONFIG)):
            assert torch.equal(part[0, 0], torch.cat(list(parts[:, 0]), dim=-1))
    tall = torch.randint(-8, 9, (8, 1, 256, 64), generator=generator).float()
    split = mesh.put(tall, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE)
    for chip, part in enumerate(on_every_chip(mesh.sum_and_split_rows(split))):
        assert torch.equal(part[0], tall.sum(0)[:, 32 * chip : 32 * chip + 32])


@pytest.mark.parametrize("columns", [8 * 128, 8 * 320])
@pytest.mark.parametrize("dtype", [DataType.BFLOAT16, DataType.BFLOAT8_B], ids=["bf16", "bfp8"])
def test_sums_are_rounded_on_the_way(
    dtype: DataType, columns: int, mesh: Mesh, record_property: Callable[[str, object], None]
) -> None:
    """2 s each: alike on all chips, and to the bit what chip_values says of slices of up to a chunk, or of more."""
    parts = torch.randn(8, 1, 32, columns, generator=torch.Generator().manual_seed(2))
    on_chips = getattr(ttnn, dtype.name.lower())
    x = mesh.put(parts, on_chips, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, ttnn.L1_MEMORY_CONFIG)
    sent = torch.stack(on_every_chip(x)).squeeze(1)
    found, *others = on_every_chip(mesh.sum_over_devices(x, ttnn.L1_MEMORY_CONFIG))
    assert all(torch.equal(other, found) for other in others)
    slices = sent.chunk(8, dim=-1)
    expected = torch.cat([slice_sum(part, chip, dtype) for chip, part in enumerate(slices)], -1)
    assert torch.equal(found.view_as(expected), expected)
    exact = sent.double().sum(0)
    for name, sums in (("the ring", found.double()), ("rounded once", packed(exact.float(), dtype))):
        record_property(name, f"rms {(sums.view_as(exact) - exact).norm() / exact.norm():.2%}")


def test_stories(mesh: Mesh, repacked: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """45 s: 32 stories x 3 positions, decoded, against the float32 reference and the CPU backend on 8 chips."""
    check_agreement(mesh, repacked, "performance", Work("decode", 3), tmp_path, record_property)


def test_prefill(mesh: Mesh, repacked: Path, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """500 s: prompts of 29 to 300 tokens in passes of 256, the longest in two chunks, and a decode step after them."""
    check_agreement(mesh, repacked, "performance", Work("prefill", 256), tmp_path, record_property)


def test_greedy_ids_are_the_argmax_on_every_chip(model: Mixtral, repacked: Path) -> None:
    """45 s: three steps of 32 users, without a trace: ids and positions are alike on all chips."""
    texts = tiny_texts.stories(Tokenizer(repacked), 2)
    model.state.set_blocks([[row] for row in range(ROWS)])
    model.state.set_rows([row[0] for row in texts.rows], [0] * ROWS)
    model.sampler.set([GREEDY] * ROWS)
    for position in range(1, 4):
        logits = model.decode_logits()
        kept = ttnn.clone(logits)
        model.sampler.forward(logits, model.state.tokens)
        model.state.advance()
        expected = model.read_logits(kept).argmax(-1).tolist()
        for ids, positions in zip(on_every_chip(model.state.tokens), on_every_chip(model.state.positions), strict=True):
            assert ids.flatten().int().tolist() == expected
            assert positions.flatten().int().tolist() == [position] * ROWS


def test_sampled_ids_are_alike_on_every_chip(mesh: Mesh) -> None:
    """25 s: each chip draws for itself; 32 rows of different seeds, four draws in a row."""
    sampler, ids = Sampler(1024, mesh), mesh.put(torch.zeros(1, 1, 1, ROWS, dtype=torch.int32), ttnn.uint32)
    sampler.set([SamplingParams(2.0, 32, seed=row) for row in range(ROWS)])
    logits = torch.randn(1, 1, ROWS, 1024, generator=torch.Generator().manual_seed(3))
    best = logits.argmax(-1).flatten()
    for _ in range(4):
        on_chips = mesh.put(
            logits, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS, memory_config=ttnn.L1_MEMORY_CONFIG
        )
        sampler.forward(on_chips, ids)
        sampler.advance()
        first, *others = (part.flatten().int() for part in on_every_chip(ids))
        assert all(torch.equal(part, first) for part in others)
        assert (first != best).any(), "drawn, not greedy"
