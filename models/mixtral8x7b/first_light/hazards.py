"""What could go wrong on a chip and cannot on the CPU backend: old memory, edges of tiles and chunks, ties, seeds."""

from functools import partial

import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.hostile import PATTERNS, poison
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import on_every_chip, opened
from models.mixtral8x7b.first_light.placed import weights_of
from models.mixtral8x7b.first_light.random_models import SMALL, exact_model, prompts_of
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.decode_state import NO_USER, table_width
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_KEYS_AT_ONCE, DECODE_ROWS, GRID, one_row_per_core
from models.mixtral8x7b.tt.mesh import Mesh, Placement
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import Precision, preset
from models.mixtral8x7b.tt.sampler import Sampler

EDGES = [0, 1, 30, 31, 32, 33, 62, 63, 64, 65, 126, 127, 128, 129, 191, 192, 193, 254, 255, 256, 257, 318, 319]
VOCABULARY = 1024  # wide enough that top-k is shared out over cores
HEADS, HEAD_DIM = 4, 32  # of one chip, over one KV head
SDPA_PCC = 0.9995
NEWCOMERS_BLOCK = 1  # of the user whose first token is decoded: nothing was ever written to it
TOKENS = [3, 7, 11]  # that are decoded
LENGTHS = [45, 140]  # of the prompts before
LEAST_PCC = 0.999  # of logits with the reference's


def run(asked: Asked, notes: Notes) -> None:
    checks, precision = Checks(asked.target != "mock"), preset(asked.precision, asked.machine)
    reference = exact_model(SMALL)
    with opened(asked, notes) as mesh:
        notes.doing("a pool of keys that is zeroed")
        zeros_are_a_fill(mesh, SMALL, precision, checks)
        notes.doing("decode's attention at every edge", "attention")
        attention_at_every_edge(mesh, precision, checks)
        notes.doing("the cache update at every edge")
        cache_update_writes_its_row(mesh, checks)
        notes.doing("greedy ids of logits with ties")
        greedy_ids_are_the_argmax(mesh, checks)
        notes.doing("draws of seeds")
        seeds_decide_the_draws(mesh, checks)
        notes.doing("draws with other work in between")
        work_in_between_changes_no_draw(mesh, checks)
        notes.doing("a small model in clean memory")
        clean = logits_of(reference, mesh, precision)
        logits_are_the_references(reference, clean, checks)
        patterns = list(PATTERNS)[:1] if asked.quick or asked.target != "device" else list(PATTERNS)
        for pattern in patterns:
            notes.doing(f"a small model in memory that held {pattern}")
            poison(mesh, PATTERNS[pattern])
            checks.equal(logits_of(reference, mesh, precision), clean, f"logits in memory that held {pattern}")
    notes.far(f"old memory ({', '.join(patterns)}), edges, ties and seeds change nothing")


# ---------------------------------------------------------------- memory


def logits_of(reference: Transformer, mesh: Mesh, precision: Precision) -> torch.Tensor:
    """A small model from nothing: two prompts prefilled in one pass, then a step of these and of a newcomer.

    [2, 3 users, vocab]; of the newcomer both are its first token's. Block 0, at which the page table points where a
    user has no block, is nobody's.
    """
    prompts = prompts_of(reference.config, LENGTHS, first_block=2)
    model = Mixtral(weights_of(reference, mesh), mesh, precision, 6, 256, 256)
    first = model.read_logits(model.prefill(prompts))[: len(TOKENS)]
    unused = DECODE_ROWS - len(TOKENS)
    positions = [*(len(prompt.ids) for prompt in prompts), 0]
    model.state.set_rows([*TOKENS, *[0] * unused], [*positions, *[NO_USER] * unused])
    model.state.set_blocks([*(list(prompt.blocks) for prompt in prompts), [NEWCOMERS_BLOCK], *[[]] * unused])
    after = model.read_logits(model.decode_logits())[: len(TOKENS)]
    return torch.stack((torch.cat((first[: len(prompts)], after[len(prompts) :])), after))


def logits_are_the_references(reference: Transformer, found: torch.Tensor, checks: Checks) -> None:
    begun = [*(prompt.ids for prompt in prompts_of(reference.config, LENGTHS)), []]
    for user, (ids, token) in enumerate(zip(begun, TOKENS, strict=True)):
        expected = reference(torch.tensor([[*ids, token]]))[0, -2:].expand(2, -1)
        checks.close(found[:, user], expected, LEAST_PCC, f"logits of user {user} beside the reference's")


def zeros_are_a_fill(mesh: Mesh, config: MixtralConfig, precision: Precision, checks: Checks) -> None:
    """A pool of keys in memory that was full of nan and infinity is all zeros, on every chip."""
    poison(mesh, PATTERNS["nan"])
    cache = KVCache(config, mesh, 40, precision.kv_cache)
    for pool in (*cache.keys, *cache.values):
        for chip, part in enumerate(on_every_chip(pool)):
            held = part.float()
            if checks.compares and not torch.equal(held, torch.zeros_like(held)):
                n = int((held != 0).sum())
                raise Finding(
                    Verdict.GARBAGE, f"a pool of keys is not zero where it was zeroed: {n} values on chip {chip}"
                )


# ---------------------------------------------------------------- edges


def _placed(per_row: int, seed: int) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Positions of 32 rows, their blocks in any order, pools of keys and of values full of others' finite values."""
    generator = torch.Generator().manual_seed(seed)
    positions = torch.full((DECODE_ROWS,), NO_USER, dtype=torch.int32)
    used = [row for row in range(DECODE_ROWS) if row % 4 != 3][: len(EDGES)]
    positions[used] = torch.tensor(EDGES, dtype=torch.int32)
    blocks = torch.randperm(DECODE_ROWS * per_row, generator=generator).view(DECODE_ROWS, per_row).int()
    return (
        positions,
        blocks,
        [torch.randn(DECODE_ROWS * per_row, 1, 64, HEAD_DIM, generator=generator) for _ in range(2)],
    )


def attention_at_every_edge(mesh: Mesh, precision: Precision, checks: Checks) -> None:
    """Positions around tiles, blocks and chunks of keys; rows without a user in between; blocks in any order."""
    positions, blocks, pools = _placed(table_width(320), seed=2)
    q = torch.randn(1, DECODE_ROWS, HEADS, HEAD_DIM, generator=torch.Generator().manual_seed(7)).bfloat16()
    keys, values = (mesh.put(pool, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for pool in pools)
    layout = one_row_per_core(HEAD_DIM, DECODE_ROWS)
    attended = ttnn.transformer.paged_scaled_dot_product_attention_decode(
        mesh.put(q, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=layout),
        keys,
        values,
        page_table_tensor=mesh.put(blocks, ttnn.int32),
        cur_pos_tensor=mesh.put(positions, ttnn.int32),
        scale=HEAD_DIM**-0.5,
        program_config=ttnn.SDPAProgramConfig(
            compute_with_storage_grid_size=GRID,
            q_chunk_size=0,
            k_chunk_size=min(precision.attention_chunk, DECODE_KEYS_AT_ONCE),
            exp_approx_mode=False,
        ),
        compute_kernel_config=precision.sdpa_decode,
        memory_config=layout,
    )
    k_pool, v_pool = (mesh.read_replicated(pool).float() for pool in (keys, values))
    for chip, part in enumerate(on_every_chip(attended)):
        for row, position in enumerate(positions.tolist()):
            if position < 0:
                continue
            n = position + 1
            k, v = (pool[blocks[row].long(), 0].flatten(0, 1)[:n] for pool in (k_pool, v_pool))
            expected = torch.softmax(q[0, row].float() @ k.T * HEAD_DIM**-0.5, -1) @ v
            what = f"decode's attention on chip {chip} at position {position}"
            checks.close(part[0].float()[row, :HEADS], expected, SDPA_PCC, what, "attention")


def cache_update_writes_its_row(mesh: Mesh, checks: Checks) -> None:
    """And no other, at every edge, also for rows without a user."""
    positions, blocks, pools = _placed(per_row=5, seed=3)
    keys, values = (mesh.put(pool, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for pool in pools)
    before = [mesh.read_replicated(pool).float() for pool in (keys, values)]
    generator = torch.Generator().manual_seed(8)
    new = [torch.randn(1, DECODE_ROWS, 1, HEAD_DIM, generator=generator).bfloat16() for _ in range(2)]
    grid = [ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, y), ttnn.CoreCoord(7, y + 3))]) for y in (0, 4)]
    sharded = [
        mesh.put(
            rows,
            ttnn.bfloat16,
            ttnn.TILE_LAYOUT,
            memory_config=ttnn.MemoryConfig(
                ttnn.TensorMemoryLayout.HEIGHT_SHARDED,
                ttnn.BufferType.L1,
                ttnn.ShardSpec(cores, [32, HEAD_DIM], ttnn.ShardOrientation.ROW_MAJOR),
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
        for chip, part in enumerate(on_every_chip(pool)):
            after = part.float()
            written = torch.zeros(after.shape[0], 64, dtype=torch.bool)
            for row, position in enumerate(positions.tolist()):
                if position >= 0:
                    block = int(blocks[row, position // 64])
                    written[block, position % 64] = True
                    what = f"the row that the cache update wrote on chip {chip} at position {position}"
                    checks.close(after[block, 0, position % 64], rows[0, row, 0].float(), 0.999, what)
            what = f"rows that the cache update leaves alone on chip {chip}"
            checks.equal(after[:, 0][~written], old[:, 0][~written], what)


# ---------------------------------------------------------------- draws


def greedy_ids_are_the_argmax(mesh: Mesh, checks: Checks) -> None:
    """32 users, logits with many ties; of equal ones the lowest id."""
    sampler = Sampler(VOCABULARY, mesh)
    logits = torch.randn(DECODE_ROWS, VOCABULARY, generator=torch.Generator().manual_seed(4)).round().bfloat16()
    sampler.set([GREEDY] * DECODE_ROWS)
    found = torch.tensor(draws(mesh, sampler, logits, 1, checks)[0])
    checks.equal(found, logits.float().argmax(-1), "greedy ids of logits with ties")


def seeds_decide_the_draws(mesh: Mesh, checks: Checks) -> None:
    """The same seed and index of a token draw the same, others differ, nothing outside of top-k is ever drawn."""
    sampler = Sampler(VOCABULARY, mesh)
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(6)).expand(DECODE_ROWS, -1).bfloat16()
    of = partial(SamplingParams, 2.0, 16, 1.0)
    kept = set(logits[0].float().topk(16).indices.tolist())
    sampler.set([of(5)] * DECODE_ROWS)
    once = draws(mesh, sampler, logits, 4, checks)
    sampler.set([of(5)] * DECODE_ROWS, [2] * DECODE_ROWS)
    again = draws(mesh, sampler, logits, 2, checks)
    sampler.set([of(seed) for seed in range(DECODE_ROWS)])
    others = draws(mesh, sampler, logits, 4, checks)
    for holds, what in (
        (all(len(set(step)) == 1 for step in once), "32 rows of one seed and equal logits draw alike"),
        (len({step[0] for step in once}) > 1, "the index of a token changes its draw"),
        (again == once[2:], "the same seed and index draw the same"),
        (all(len(set(step)) > 4 for step in others), "rows of other seeds draw others"),
        ({token for step in (*once, *others) for token in step} <= kept, "nothing outside of top-k is drawn"),
    ):
        if checks.compares and not holds:
            raise Finding(Verdict.WRONG, f"it should be so, and is not: {what}")


def work_in_between_changes_no_draw(mesh: Mesh, checks: Checks) -> None:
    """exp, silu and softmax advance the generators that `sampling` draws with, each core's by another number."""
    sampler, busy = Sampler(VOCABULARY, mesh), mesh.put(torch.ones(1, 1, 256, 1024), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    logits = torch.randn(1, VOCABULARY, generator=torch.Generator().manual_seed(6)).expand(DECODE_ROWS, -1).bfloat16()
    sampler.set([SamplingParams(2.0, 32, seed=5)] * DECODE_ROWS)
    quiet = draws(mesh, sampler, logits, 2, checks)
    sampler.set([SamplingParams(2.0, 32, seed=5)] * DECODE_ROWS)
    first = draws(mesh, sampler, logits, 1, checks)
    ttnn.deallocate(ttnn.silu(busy))
    found = torch.tensor(first + draws(mesh, sampler, logits, 1, checks))
    checks.equal(found, torch.tensor(quiet), "draws with other work in between")


def draws(mesh: Mesh, sampler: Sampler, logits: torch.Tensor, n: int, checks: Checks) -> list[list[int]]:
    """n tokens of every row, one after the other, alike on all chips."""
    ids = mesh.put(torch.zeros(1, 1, 1, DECODE_ROWS, dtype=torch.int32), ttnn.uint32)
    found = []
    for _ in range(n):
        on_chips = mesh.put(
            logits[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS, ttnn.L1_MEMORY_CONFIG
        )
        sampler.forward(on_chips, ids)
        sampler.advance()
        parts = [part.flatten().long() for part in on_every_chip(ids)]
        checks.alike(parts, "ids that the chips drew")
        found.append([int(token) for token in parts[0].tolist()])
    return found
