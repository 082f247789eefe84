"""What could go wrong on a chip and cannot on the CPU backend. Each test states its seconds, kernels cached."""

from functools import partial

import pytest
import torch
import ttnn

from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.decode_state import table_width
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, GRID, one_row_per_core
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.sampler import Sampler
from tests.sim.hostile import PATTERNS, poison
from tests.sim.small import CONFIG, ROWS, decode, model_of, prefill, prompts_of
from tests.tt.cases import pcc, reference

pytestmark = pytest.mark.timeout(0)  # cold kernels take minutes
EDGES = [0, 1, 30, 31, 32, 33, 62, 63, 64, 65, 126, 127, 128, 129, 191, 192, 193, 254, 255, 256, 257, 318, 319]
VOCABULARY = 1024  # wide enough that top-k is shared out over cores
SDPA_PCC = 0.9995
NEWCOMERS_BLOCK = 1  # of the user whose first token is decoded: nothing was ever written to it
TOKENS = [3, 7, 11]  # that are decoded


def run(mesh: Mesh) -> torch.Tensor:
    """A small model from nothing: two prompts prefilled in one pass, then a step of these and of a newcomer.

    [2, 3 users, vocab]; of the newcomer both are its first token's. Block 0, at which the page table points where a
    user has no block, is nobody's.
    """
    prompts = prompts_of([45, 140], first_block=2)
    model = model_of(mesh, n_blocks=6, context=256)
    first = prefill(model, prompts)
    positions = [*(len(prompt.ids) for prompt in prompts), 0]
    after = decode(model, positions, [*(list(prompt.blocks) for prompt in prompts), [NEWCOMERS_BLOCK]], TOKENS)
    return torch.stack((torch.cat((first, after[2:])), after))


@pytest.fixture(scope="module")
def clean(mesh: Mesh) -> torch.Tensor:
    return run(mesh)


@pytest.mark.router_and_sampler
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_was_in_memory_changes_nothing(mesh: Mesh, clean: torch.Tensor, pattern: str) -> None:
    """35 s each: all DRAM that the model will get, and 1.3 of 1.4 MB of each core's L1, hold the pattern."""
    poison(mesh, PATTERNS[pattern])
    assert torch.equal(run(mesh), clean)


@pytest.mark.router_and_sampler
def test_a_program_repeats_after_others(mesh: Mesh, clean: torch.Tensor) -> None:
    """35 s: the same bits after everything else that ran in this process."""
    assert torch.equal(run(mesh), clean)


@pytest.mark.router_and_sampler
def test_the_logits_are_the_references(mesh: Mesh, clean: torch.Tensor) -> None:
    model = reference(CONFIG)
    begun = [*(prompt.ids for prompt in prompts_of([45, 140])), []]
    for user, (ids, token) in enumerate(zip(begun, TOKENS, strict=True)):
        expected = model(torch.tensor([[*ids, token]]))[0, -2:]
        assert pcc(clean[:, user], expected.expand(2, -1)) > 0.999


def test_decode_attention_at_every_edge(mesh: Mesh) -> None:
    """1 s: positions around tiles, blocks and chunks of keys; rows without a user in between; blocks in any order.

    Keys after a row's position, and blocks that it does not own, hold other users' finite values.
    """
    heads, head_dim, per_row = CONFIG.n_heads, CONFIG.head_dim, table_width(320)
    generator = torch.Generator().manual_seed(2)
    positions = torch.full((ROWS,), -1, dtype=torch.int32)
    used = [row for row in range(ROWS) if row % 4 != 3][: len(EDGES)]
    positions[used] = torch.tensor(EDGES, dtype=torch.int32)
    blocks = torch.randperm(ROWS * per_row, generator=generator).view(ROWS, per_row).int()
    pools = [torch.randn(ROWS * per_row, 1, 64, head_dim, generator=generator) for _ in range(2)]
    q = torch.randn(1, ROWS, heads, head_dim, generator=generator).bfloat16()
    keys, values = (mesh.put(pool, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for pool in pools)
    layout = one_row_per_core(head_dim, DECODE_ROWS)
    attended = ttnn.transformer.paged_scaled_dot_product_attention_decode(
        mesh.put(q, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=layout),
        keys,
        values,
        page_table_tensor=mesh.put(blocks, ttnn.int32),
        cur_pos_tensor=mesh.put(positions, ttnn.int32),
        scale=head_dim**-0.5,
        program_config=ttnn.SDPAProgramConfig(
            compute_with_storage_grid_size=GRID, q_chunk_size=0, k_chunk_size=256, exp_approx_mode=False
        ),
        compute_kernel_config=PERFORMANCE.sdpa_decode,
        memory_config=layout,
    )
    found = mesh.read_replicated(attended)[0].float()
    k_pool, v_pool = (mesh.read_replicated(pool).float() for pool in (keys, values))
    for row in used:
        n = int(positions[row]) + 1
        k, v = (pool[blocks[row].long(), 0].flatten(0, 1)[:n] for pool in (k_pool, v_pool))
        expected = torch.softmax(q[0, row].float() @ k.T * head_dim**-0.5, -1) @ v
        assert pcc(found[row, :heads], expected) > SDPA_PCC, f"position {n - 1}"


def test_the_cache_update_writes_its_row_and_no_other(mesh: Mesh) -> None:
    """1 s: at every edge, also for rows without a user."""
    head_dim, per_row = CONFIG.head_dim, 5
    generator = torch.Generator().manual_seed(3)
    positions = torch.full((ROWS,), -1, dtype=torch.int32)
    positions[: len(EDGES)] = torch.tensor(EDGES, dtype=torch.int32)
    blocks = torch.randperm(ROWS * per_row, generator=generator).view(ROWS, per_row).int()
    pools = [torch.randn(ROWS * per_row, 1, 64, head_dim, generator=generator) for _ in range(2)]
    keys, values = (mesh.put(pool, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for pool in pools)
    before = [mesh.read_replicated(pool).float() for pool in (keys, values)]
    new = [torch.randn(1, ROWS, 1, head_dim, generator=generator).bfloat16() for _ in range(2)]
    grid = [ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, y), ttnn.CoreCoord(7, y + 3))]) for y in (0, 4)]
    sharded = [
        mesh.put(
            rows,
            ttnn.bfloat16,
            ttnn.TILE_LAYOUT,
            memory_config=ttnn.MemoryConfig(
                ttnn.TensorMemoryLayout.HEIGHT_SHARDED,
                ttnn.BufferType.L1,
                ttnn.ShardSpec(cores, [32, head_dim], ttnn.ShardOrientation.ROW_MAJOR),
            ),
        )
        for rows, cores in zip(new, grid, strict=True)
    ]
    ttnn.experimental.paged_fused_update_cache(
        keys,
        sharded[0],
        values,
        sharded[1],
        update_idxs_tensor=mesh.put(positions, ttnn.int32),
        page_table=mesh.put(blocks, ttnn.int32),
    )
    for pool, old, rows in zip((keys, values), before, new, strict=True):
        after = mesh.read_replicated(pool).float()
        written = torch.zeros(after.shape[0], 64, dtype=torch.bool)
        for row, position in enumerate(positions.tolist()):
            if position >= 0:
                block = int(blocks[row, position // 64])
                written[block, position % 64] = True
                assert pcc(after[block, 0, position % 64], rows[0, row, 0].float()) > 0.999
        assert torch.equal(after[:, 0][~written], old[:, 0][~written])


def test_zeros_are_a_fill_and_no_product(mesh: Mesh) -> None:
    """1 s: a pool that was full of nan and infinity is all zeros."""
    poison(mesh, PATTERNS["nan"])
    cache = KVCache(CONFIG, mesh, 40, PERFORMANCE.kv_cache)
    for pool in (*cache.keys, *cache.values):
        assert not mesh.read_replicated(pool).any()


@pytest.mark.router_and_sampler
def test_greedy_ids_are_the_argmax(mesh: Mesh) -> None:
    """1 s: 32 users, logits with many ties; of equal ones the lowest id."""
    sampler = Sampler(VOCABULARY, mesh)
    logits = torch.randn(ROWS, VOCABULARY, generator=torch.Generator().manual_seed(4)).round().bfloat16()
    sampler.set([GREEDY] * ROWS)
    assert draws(mesh, sampler, logits, 1) == [logits.float().argmax(-1).tolist()]


@pytest.mark.router_and_sampler
def test_seeds_decide_the_draws(mesh: Mesh) -> None:
    """2 s: the same seed and index of a token draw the same, others differ, nothing outside of top-k is ever drawn."""
    sampler = Sampler(VOCABULARY, mesh)
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(6)).expand(ROWS, -1).bfloat16()
    of = partial(SamplingParams, 2.0, 16, 1.0)
    kept = set(logits[0].float().topk(16).indices.tolist())
    sampler.set([of(5)] * ROWS)
    once = draws(mesh, sampler, logits, 4)
    assert all(len(set(step)) == 1 for step in once), "32 rows of one seed and equal logits draw alike"
    assert len({step[0] for step in once}) > 1, "the index of the token counts"
    sampler.set([of(5)] * ROWS, [2] * ROWS)
    assert draws(mesh, sampler, logits, 2) == once[2:]
    sampler.set([of(seed) for seed in range(ROWS)])
    others = draws(mesh, sampler, logits, 4)
    assert all(len(set(step)) > 4 for step in others)
    assert {token for step in (*once, *others) for token in step} <= kept


@pytest.mark.router_and_sampler
def test_what_ran_between_changes_no_draw(mesh: Mesh) -> None:
    """4 s: exp, silu and softmax advance the generators that `sampling` draws with, each core's by another number."""
    sampler, busy = Sampler(VOCABULARY, mesh), mesh.put(torch.ones(1, 1, 256, 1024), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(6)).expand(ROWS, -1).bfloat16()
    sampler.set([SamplingParams(2.0, 32, seed=5)] * ROWS)
    quiet = draws(mesh, sampler, logits, 2)
    sampler.set([SamplingParams(2.0, 32, seed=5)] * ROWS)
    first = draws(mesh, sampler, logits, 1)
    ttnn.deallocate(ttnn.silu(busy))
    assert first + draws(mesh, sampler, logits, 1) == quiet


def draws(mesh: Mesh, sampler: Sampler, logits: torch.Tensor, n: int) -> list[list[int]]:
    """n tokens of every row, one after the other."""
    ids = mesh.put(torch.zeros(1, 1, 1, ROWS, dtype=torch.int32), ttnn.uint32)
    found = []
    for _ in range(n):
        on_chips = mesh.put(logits[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG)
        sampler.forward(on_chips, ids)
        sampler.advance()
        found.append([int(token) for token in mesh.read_replicated(ids).flatten().tolist()])
    return found
