"""What a decode step asks of single operations, against exact results. Each test states its seconds, kernels cached."""

import pytest
import torch
import ttnn

from models.mixtral8x7b.tt.layouts import DECODE_ROWS, GRID, NEVER, decode_matmul, over_dram_banks, tiles
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import HIFI2_FP32, PERFORMANCE
from models.mixtral8x7b.tt.router import RANKS

pytestmark = pytest.mark.timeout(0)  # cold kernels take minutes
CHOSEN, EXPERTS, COLUMNS = 2, 8, 64
# Of the shares: their logits reach the matrix unit as tf32, whose last place is 2 ** -7 for the largest here, 16.
SHARES_RTOL, MOST_LOGIT = 2.0**-6, 15.9


@pytest.mark.parametrize(
    ("rows", "columns", "in_cores", "out_cores", "block"),
    [
        (4096, 768, 32, 24, 8),
        (512, 512, 4, 16, 8),
        (384, 384, 12, 12, 6),
        (2048, 384, 64, 12, 8),
        (1024, 384, 8, 12, 8),
    ],
)
def test_a_block_of_several_shards(
    mesh: Mesh, rows: int, columns: int, in_cores: int, out_cores: int, block: int
) -> None:
    """1 s each: whole numbers, of which every sum is exact; twice, the second time into what the first left behind.

    [wqkv; wo of 512 columns; a shard of one tile, 6 and 8 of them in a block; 4 tiles, on cores of the first row only]
    """
    generator = torch.Generator().manual_seed(rows)
    x, weight = (torch.randint(-3, 4, (1, 1, *shape), generator=generator).float() for shape in _shapes(rows, columns))
    program = decode_matmul(rows, columns, in_cores, out_cores, mesh.dram_banks, ttnn.bfloat8_b)
    assert program.in0_block_w == block > tiles(rows) // in_cores
    cores = ttnn.num_cores_to_corerangeset(in_cores, ttnn.CoreCoord(*GRID), True)
    shard = ttnn.ShardSpec(cores, [DECODE_ROWS, rows // in_cores], ttnn.ShardOrientation.ROW_MAJOR)
    split = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, ttnn.BufferType.L1, shard)
    on_chips = mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=split)
    stored = over_dram_banks(rows, columns, mesh.dram_banks)
    weight_on_chips = mesh.put(weight, ttnn.bfloat8_b, ttnn.TILE_LAYOUT, memory_config=stored)
    for _ in range(2):
        made = ttnn.linear(
            on_chips,
            weight_on_chips,
            program_config=program,
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=HIFI2_FP32,
        )
        assert torch.equal(mesh.read_replicated(made).float().view(DECODE_ROWS, columns), _as_bf16(x @ weight)[0, 0])


def _shapes(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    return (DECODE_ROWS, rows), (rows, columns)


def _as_bf16(values: torch.Tensor) -> torch.Tensor:
    """float32 to the nearest bf16, ties away from zero, as the packer rounds."""
    return ((values.view(torch.int32) + 0x8000) & -0x10000).view(torch.float32)


@pytest.mark.router_and_sampler
@pytest.mark.parametrize("n_rows", [32, 256])
def test_the_ranks_of_equal_logits(mesh: Mesh, n_rows: int) -> None:
    """1 s each: 32 of 64 columns with many ties, the lowest id first."""
    logits = (2 * torch.randn(n_rows, COLUMNS, generator=torch.Generator().manual_seed(n_rows))).round()
    on_chips = mesh.put(logits[None, None], ttnn.float32, ttnn.TILE_LAYOUT)
    best, ids = ttnn.topk(on_chips, RANKS, dim=-1, largest=True, sorted=True, stable=True)
    expected = logits.sort(dim=-1, descending=True, stable=True)
    assert torch.equal(mesh.read_replicated(best).view(n_rows, RANKS), expected.values[:, :RANKS])
    assert torch.equal(mesh.read_replicated(ids).long().view(n_rows, RANKS), expected.indices[:, :RANKS])


@pytest.mark.router_and_sampler
@pytest.mark.parametrize("n_rows", [32, 256])
def test_the_shares_of_the_chosen(mesh: Mesh, n_rows: int) -> None:
    """1 s each: softmax over the first two ranks, exactly nothing for the others, whatever their logits are."""
    logits = 4 * torch.randn(n_rows, RANKS, generator=torch.Generator().manual_seed(n_rows))
    logits = logits.clamp(-MOST_LOGIT, MOST_LOGIT).sort(dim=-1, descending=True).values
    logits[:, EXPERTS:] = NEVER
    mask = torch.where(torch.arange(RANKS) < CHOSEN, 0.0, NEVER)
    shares = ttnn.scale_mask_softmax(
        mesh.put(logits[None, None], ttnn.float32, ttnn.TILE_LAYOUT),
        mask=mesh.put(mask[None, None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT),
        memory_config=ttnn.L1_MEMORY_CONFIG,
        compute_kernel_config=PERFORMANCE.router,
    )
    found = mesh.read_replicated(shares).view(n_rows, RANKS)
    assert not found[:, CHOSEN:].any()
    torch.testing.assert_close(found[:, :CHOSEN], torch.softmax(logits[:, :CHOSEN], -1), rtol=SHARES_RTOL, atol=0.0)
