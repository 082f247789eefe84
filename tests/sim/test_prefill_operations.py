"""What packed prefill calls on a chip, one step at a time. Each test states its seconds, kernels cached."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
import ttnn

from models.mixtral8x7b.first_light.hostile import PATTERNS, poison
from models.mixtral8x7b.packing import LARGEST_PASS, MOST_PIECES, START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt
from models.mixtral8x7b.tt.attention import sdpa_program
from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.prefill import ROUTED_FROM
from models.mixtral8x7b.tt.row_list import BLOCK_ROWS, RowLister, block_rows
from tests.sim.small import CONFIG, model_of, prefill, prompts_of
from tests.teacher_forcing import router_margins
from tests.thresholds import ROUTER_MARGIN
from tests.tt.cases import pcc, reference, weights_of

Record = Callable[[str, object], None]

pytestmark = pytest.mark.timeout(0)  # cold kernels take minutes
HEADS, HEAD_DIM = CONFIG.n_heads, CONFIG.head_dim
ENDS = {
    256: [[0, 64, 192, 256], [0, 64, 128, 192], [0, 256], [0, 64]],
    512: [[0, 64, 128, 512], [0, 192, 448, 512], [0, 320, 384], [0, 512], list(range(0, 513, 64))],
}
WINDOWS = [(size, ends) for size, of_size in ENDS.items() for ends in of_size]
NAMES = [f"{size} rows cut at {' '.join(map(str, ends[1:]))}" for size, ends in WINDOWS]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attend(mesh: Mesh, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, ends: list[int] | None) -> torch.Tensor:
    """Queries [1, H, T, K], keys and values [1, 1, T, K] -> [T, H*K]; `ends` as in tt/prefill.py, or one window."""
    size = q.shape[2]
    windows = {}
    if ends is not None:
        padded = [*ends, *[size] * (MOST_PIECES + 1 - len(ends))]
        windows["cu_window_seqlens"] = mesh.put(torch.tensor(padded, dtype=torch.int32), ttnn.int32)
    attended = ttnn.transformer.scaled_dot_product_attention(
        mesh.put(q, ttnn.bfloat16, ttnn.TILE_LAYOUT),
        *(mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for x in (k, v)),
        is_causal=True,
        **windows,
        program_config=sdpa_program(PERFORMANCE.attention_chunk),
        compute_kernel_config=PERFORMANCE.sdpa_prefill,
        output_concat_heads=True,
    )
    return mesh.read_replicated(attended)[0, 0].float()


def expected_of(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, start: int = 0) -> torch.Tensor:
    """Of a prompt's rows from position `start` on, [rows, H*K]."""
    rows, keys = q.shape[2], k.shape[2]
    later = torch.arange(keys)[None] > torch.arange(start, start + rows)[:, None]
    scores = (q[0].double() @ k[0].double().mT * HEAD_DIM**-0.5).masked_fill(later, -torch.inf)
    return (torch.softmax(scores, -1) @ v[0].double()).transpose(0, 1).flatten(1).float()


def rounded(mesh: Mesh, x: torch.Tensor) -> torch.Tensor:
    """As the cache holds it."""
    return mesh.read_replicated(mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT)).float()


@pytest.mark.parametrize(("size", "ends"), WINDOWS, ids=NAMES)
def test_windows_keep_prompts_apart(mesh: Mesh, size: int, ends: list[int], record_property: Record) -> None:
    """2 to 9 s each: any windows at multiples of 64; other keys in the other windows change no bit of one."""
    q, k, v = random(1, HEADS, size, HEAD_DIM).bfloat16(), *(random(1, 1, size, HEAD_DIM, seed=s) for s in (1, 2))
    found = attend(mesh, q, k, v, ends)
    k_seen, v_seen = rounded(mesh, k), rounded(mesh, v)
    worst = 1.0
    for first, last in pairwise(ends):
        rows = slice(first, last)
        expected = expected_of(q[:, :, rows].float(), k_seen[:, :, rows], v_seen[:, :, rows])
        worst = min(worst, pcc(found[rows], expected))
    record_property("the worst window", f"PCC {worst:.6f}")
    for first, last in pairwise(ends):
        rows = slice(first, last)
        others = [random(*x.shape, seed=9).to(x.dtype) * 3 for x in (q, k, v)]
        for other, x in zip(others, (q, k, v), strict=True):
            other[:, :, rows] = x[:, :, rows]
        assert torch.equal(attend(mesh, *others, ends)[rows], found[rows]), f"rows {first} to {last}"
    assert worst > 0.9999


def test_a_window_is_what_it_is_alone(mesh: Mesh, record_property: Record) -> None:
    """9 s: the same rows alone in a pass of their own size, and at other places in a pass of 512."""
    q, k, v = random(1, HEADS, 128, HEAD_DIM).bfloat16(), *(random(1, 1, 128, HEAD_DIM, seed=s) for s in (1, 2))
    alone = attend(mesh, q, k, v, None)
    for first in (0, 64, 128, 192, 256, 320, 384):
        others = [random(1, x.shape[1], 512, HEAD_DIM, seed=9).to(x.dtype) for x in (q, k, v)]
        for other, x in zip(others, (q, k, v), strict=True):
            other[:, :, first : first + 128] = x
        ends = sorted({0, first, first + 128})
        found = attend(mesh, *others, ends)[first : first + 128]
        record_property(
            f"at row {first}", f"{(found == alone).float().mean():.4f} equal bits, PCC {pcc(found, alone):.6f}"
        )
        assert pcc(found, alone) > 0.9999


@pytest.mark.parametrize("start", [128, 256, 384])
def test_a_piece_goes_on_from_the_cache(mesh: Mesh, start: int, record_property: Record) -> None:
    """2 s each: its queries cut out by data, attended in the cache, its rows put back and no others."""
    size, at, rows, attended_rows, per_row = 512, 192, 192, 256, 24
    q, pools = random(1, HEADS, size, HEAD_DIM).bfloat16(), [random(40, 1, KV_BLOCK, HEAD_DIM, seed=s) for s in (1, 2)]
    keys, values = (mesh.put(pool, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for pool in pools)
    table = torch.randperm(40, generator=torch.Generator().manual_seed(3))[:per_row].int()[None]
    corners = [torch.tensor(c, dtype=torch.int32) for c in ([0, 0, at, 0], [1, HEADS, at + attended_rows, HEAD_DIM])]
    on_chip = mesh.put(q, ttnn.bfloat16, ttnn.TILE_LAYOUT)
    cut = ttnn.slice(
        on_chip, *(mesh.put(c, ttnn.uint32) for c in corners), slice_dim=2, num_devices=size // attended_rows
    )
    assert torch.equal(mesh.read_replicated(cut), q[:, :, at : at + attended_rows])
    seen = ttnn.transformer.chunked_scaled_dot_product_attention(
        cut,
        keys,
        values,
        mesh.put(table, ttnn.int32),
        chunk_start_idx_tensor=mesh.put(torch.tensor([start], dtype=torch.int32), ttnn.int32),
        program_config=sdpa_program(START_UNIT),
        compute_kernel_config=PERFORMANCE.sdpa_prefill,
    )
    heads = ttnn.experimental.nlp_concat_heads(seen, memory_config=ttnn.DRAM_MEMORY_CONFIG)
    found = mesh.read_replicated(heads)[0, 0].float()
    k, v = (mesh.read_replicated(pool)[table[0].long(), 0].flatten(0, 1)[None, None].float() for pool in (keys, values))
    expected = expected_of(q[:, :, at : at + attended_rows].float(), k, v, start)
    record_property("against the reference", f"PCC {pcc(found, expected):.6f}")
    assert pcc(found, expected) > 0.9999
    before = random(1, 1, size, HEADS * HEAD_DIM, seed=5).bfloat16()
    blocks = ttnn.reshape(
        mesh.put(before, ttnn.bfloat16, ttnn.TILE_LAYOUT), (size // KV_BLOCK, 1, KV_BLOCK, HEADS * HEAD_DIM)
    )
    back = torch.full((1, attended_rows // KV_BLOCK), -1, dtype=torch.int32)
    back[0, : rows // KV_BLOCK] = torch.arange(at // KV_BLOCK, (at + rows) // KV_BLOCK)
    ttnn.experimental.paged_fill_cache(blocks, heads, mesh.put(back, ttnn.int32), batch_idx=0)
    after = mesh.read_replicated(ttnn.reshape(blocks, (1, 1, size, HEADS * HEAD_DIM)))[0, 0].float()
    wanted = before[0, 0].float()
    wanted[at : at + rows] = found[:rows]
    assert torch.equal(after, wanted)


KINDS = ["a quarter", "all", "none", "the last", "the first", "every seventh", "the second line"]


def weights_like(kind: str, size: int) -> torch.Tensor:
    """Weights of the rows, [1, 1, size, 1], 0 where the router sent a row elsewhere."""
    generator, row = torch.Generator().manual_seed(size), torch.arange(size)
    values = torch.rand(size, generator=generator) * 0.9 + 0.05
    chosen = {
        "a quarter": torch.rand(size, generator=generator) < 0.25,
        "all": row >= 0,
        "none": row < 0,
        "the last": row == size - 1,
        "the first": row == 0,
        "every seventh": row % 7 == 0,
        "the second line": row // 128 == 1,
    }
    return (values * chosen[kind]).bfloat16().view(1, 1, size, 1)


@pytest.mark.parametrize("size", [256, 512, LARGEST_PASS])
@pytest.mark.parametrize("kind", KINDS)
def test_the_list_has_every_row_once(mesh: Mesh, kind: str, size: int) -> None:
    """1 to 4 s each: counted to the number, up to all rows; places beyond the end are left out."""
    lister = RowLister(size, mesh, PERFORMANCE.router)
    weights = weights_like(kind, size)
    rows = lister.list_rows(mesh.put(weights, ttnn.bfloat16, ttnn.TILE_LAYOUT))
    order, place, in_use = (mesh.read_replicated(t) for t in (rows.order, rows.place, rows.in_use))
    own = weights.flatten().nonzero().flatten()
    assert order[0, : len(own)].long().tolist() == own.tolist()
    assert place[0, own].long().tolist() == list(range(len(own)))
    assert int(place.long().max()) < size
    assert int(order.long().max()) < size
    used = -(-len(own) // block_rows(size))
    assert (in_use.flatten() != 0).tolist() == [n < used for n in range(size // block_rows(size))]


def test_rows_are_gathered_and_put_back(mesh: Mesh) -> None:
    """1 s: each row of the expert's comes back as it went, rounded to bfp8 on the way."""
    size = 512
    table = rounded(mesh, random(1, 1, size, CONFIG.dim)).bfloat16()
    weights = weights_like("a quarter", size)
    own = weights.flatten().nonzero().flatten()
    rows = RowLister(size, mesh, PERFORMANCE.router).list_rows(mesh.put(weights, ttnn.bfloat16, ttnn.TILE_LAYOUT))
    on_chip = mesh.put(table[0, 0], ttnn.bfloat16)
    blocks = rows.blocks_of(on_chip, PERFORMANCE.expert_activations)
    listed = mesh.read_replicated(blocks).flatten(0, 2)
    host = mesh.put(table[:, :, own][:, :, : len(own) // 32 * 32], ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
    assert torch.equal(listed[: host.shape[2]], mesh.read_replicated(host)[0, 0])
    back = mesh.read_replicated(rows.put_back(ttnn.typecast(blocks, ttnn.bfloat16)))[0, 0]
    assert torch.equal(back[own], listed[: len(own)])


@pytest.mark.parametrize("pattern", ["zeros", *PATTERNS])
def test_blocks_in_use_are_as_among_all_rows(mesh: Mesh, pattern: str) -> None:
    """5 s each: to the bit, and the others are 0, whatever was in memory before."""
    expert = Expert(weights_of(reference(CONFIG), mesh), mesh, PERFORMANCE, 0, 1)
    for rows in BLOCK_ROWS:
        for matrix, width, dtype in (
            (expert.w3, CONFIG.dim, PERFORMANCE.expert_activations),
            (expert.w2, CONFIG.hidden_dim, ttnn.bfloat16),
        ):
            x = random(1, 1, 3 * rows, width)
            poison(mesh, PATTERNS.get(pattern, 0))
            every = mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
            dense = mesh.read_replicated(matrix.with_all_rows(every, dtype))
            blocks = mesh.put(x.view(3, 1, rows, width), ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
            for in_use in ([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [0.5, 0.0, 0.0], [0.0, 2.0**-30, 1.0]):
                flags = mesh.put(torch.tensor(in_use).view(1, 1, 3, 1), ttnn.bfloat16)
                made = matrix.with_blocks(blocks, flags, dtype)
                expected = dense.view(3, 1, rows, -1) * (torch.tensor(in_use) != 0).view(3, 1, 1, 1)
                assert torch.equal(mesh.read_replicated(made), expected), f"{rows} rows, {in_use}"


def test_an_expert_of_blocks(mesh: Mesh, record_property: Record) -> None:
    """2 s: against float32 on the same rounded inputs, beside the expert of all rows."""
    expert = Expert(weights_of(reference(CONFIG), mesh), mesh, PERFORMANCE, 0, 1)
    x = random(1, 1, 512, CONFIG.dim)
    w1, w2, w3 = (mesh.read_replicated(m.weight)[0, 0].float() for m in (expert.w1, expert.w2, expert.w3))
    given = rounded(mesh, x)[0, 0]
    expected = (torch.nn.functional.silu(given @ w1) * (given @ w3)) @ w2
    dense = expert.forward_prefill(mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT))
    blocks = mesh.put(x.view(2, 1, 256, CONFIG.dim), ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
    listed = expert.forward_blocks(blocks, mesh.put(torch.ones(1, 1, 2, 1), ttnn.bfloat16))
    for name, found in (("all rows", dense), ("blocks", listed)):
        ours = mesh.read_replicated(found).flatten(0, 2).float()
        record_property(name, f"PCC {pcc(ours, expected):.6f}, rms {(ours - expected).norm() / expected.norm():.2%}")
        assert pcc(ours, expected) > 0.9997


@pytest.mark.router_and_sampler
@pytest.mark.parametrize("routed_from", [ROUTED_FROM, 256], ids=["all rows", "own rows"])
def test_prompts_share_a_pass(
    mesh: Mesh, routed_from: int, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    """70 s and 25 s: fresh ones and one that goes on from the cache against the reference; neighbours change no bit."""
    monkeypatch.setattr("models.mixtral8x7b.tt.prefill.ROUTED_FROM", routed_from)
    model = model_of(mesh, n_blocks=24, context=320, pass_tokens=512)
    short, long, *others = prompts_of([45, 300, 64, 100])
    going_on = replace(long, start=128)
    prefill(model, [replace(long, ids=long.ids[:128])])

    def logits(*prompts: Prompt) -> torch.Tensor:
        assert [one.size for one in model.passes(prompts)] == [512]
        return model.read_logits(model.prefill(prompts))

    together = logits(short, going_on, *others)
    whole, compared = reference(CONFIG), []
    for prompt in (short, going_on, *others):
        ids = torch.tensor([prompt.ids])
        found = pcc(together[prompt.row], whole(ids)[0, -1])
        decided = float(router_margins(whole, ids)[0, -1])
        record_property(f"{len(prompt.ids)} tokens", f"PCC {found:.6f}, router margin {decided:.4f}")
        if decided > ROUTER_MARGIN:
            compared.append(found)
    assert min(compared) > 0.999
    reversed_ids = [replace(prompt, ids=prompt.ids[::-1]) for prompt in others]
    assert torch.equal(logits(short, going_on, *reversed_ids)[:2], together[:2])
    elsewhere = logits(short, going_on, replace(others[0], ids=others[0].ids * 2))
    assert torch.equal(elsewhere[1], together[1])
    record_property("at other rows", f"{(elsewhere[0] == together[0]).float().mean():.4f} equal bits")
    assert torch.equal(elsewhere[0], together[0])


@pytest.mark.router_and_sampler
def test_own_rows_do_not_see_what_was_in_memory(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    """40 s: lists, gathered rows and blocks, a prompt alone in its pass, padding and all."""
    monkeypatch.setattr("models.mixtral8x7b.tt.prefill.ROUTED_FROM", 256)

    def logits() -> torch.Tensor:
        return prefill(model_of(mesh, n_blocks=6, context=320, pass_tokens=512), prompts_of([300]))

    clean = logits()
    for pattern in PATTERNS.values():
        poison(mesh, pattern)
        assert torch.equal(logits(), clean)
