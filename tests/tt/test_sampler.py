"""The chips' sampler draws from the distribution that `sampling.py` defines."""

from dataclasses import replace

import pytest
import torch
import ttnn

import ttnn_cpu
from models.mixtral8x7b.sampling import GREEDY, SamplingParams, probabilities
from models.mixtral8x7b.tt.mesh import Mesh, Placement, open_mesh
from models.mixtral8x7b.tt.sampler import Sampler

VOCAB = 800  # 100 columns on each of 8 chips: no whole tiles, no power of two
DRAWS = 60  # of 32 rows each


def draw(mesh: Mesh, sampler: Sampler, logits: torch.Tensor) -> list[int]:
    """Each row's next token, and the one after it is next."""
    ids = mesh.put(torch.zeros(1, 1, 1, 32, dtype=torch.int32), ttnn.uint32)
    placed = mesh.put(logits[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_COLUMNS)
    sampler.forward(ttnn.to_memory_config(placed, ttnn.L1_MEMORY_CONFIG), ids)
    sampler.advance()
    return [int(token) for token in mesh.read_replicated(ids).flatten()]


def spread_logits(seed: int = 0) -> torch.Tensor:
    """One distribution for all 32 rows, its best tokens on several chips."""
    logits = torch.randn(VOCAB, generator=torch.Generator().manual_seed(seed)).bfloat16().float() * 2
    return logits.expand(32, VOCAB)


@pytest.mark.parametrize("n_devices", [1, 2, 8])
def test_greedy_is_the_largest_logit_and_the_lowest_id_of_equals(n_devices: int) -> None:
    logits = torch.randn(32, VOCAB, generator=torch.Generator().manual_seed(1)).bfloat16().float()
    logits[4, [7, 399, 799]] = 9.0
    logits[5, [450, 701]] = 9.0
    with open_mesh(n_devices) as mesh:
        sampler = Sampler(VOCAB, mesh)
        sampler.set([GREEDY] * 32)
        assert draw(mesh, sampler, logits) == probabilities(logits, GREEDY).argmax(-1).tolist()


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(1.0, 32, 1.0),
        SamplingParams(0.5, 8, 1.0),
        SamplingParams(2.0, 32, 0.5),
        SamplingParams(1.0, 3, 0.9),
        SamplingParams(1.25, 1, 0.3),
    ],
    ids=str,
)
def test_frequencies(params: SamplingParams) -> None:
    """Chi-square over 1920 draws at a fixed seed, at one in a thousand."""
    logits = spread_logits()
    expected = probabilities(logits[:1], params)[0] * DRAWS * 32
    counts = torch.zeros(VOCAB)
    with open_mesh(8) as mesh:
        sampler = Sampler(VOCAB, mesh)
        sampler.set([replace(params, seed=row) for row in range(32)])
        for _ in range(DRAWS):
            for token in draw(mesh, sampler, logits):
                counts[token] += 1
    assert counts[expected == 0].sum() == 0
    common = expected >= 5  # chi-square wants five expected in each class: the rest is one class
    classes = torch.cat((expected[common], expected[~common].sum()[None]))
    seen = torch.cat((counts[common], counts[~common].sum()[None]))
    kept = classes > 0
    chi2 = ((seen - classes)[kept] ** 2 / classes[kept]).sum()
    freedom = int(kept.sum()) - 1
    assert chi2 <= freedom + 3.1 * (2 * freedom) ** 0.5 + 4, (float(chi2), freedom)


@pytest.mark.parametrize("n_devices", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("n_columns", "n_tokens"),
    [
        (800, 800),  # 100 columns on each of 8 chips, filled up to 128
        (1024, 999),  # the last chip has padding
        (256, 64),  # of 8 chips six have nothing else
        (1024, 20),  # fewer tokens than top_k
        (512, 1),
    ],
)
def test_no_column_is_drawn_that_is_no_token(n_columns: int, n_tokens: int, n_devices: int) -> None:
    """All tokens have logits far below the 0 of padding, and far below one another: hot draws reach all of them."""
    logits = torch.zeros(32, n_columns)
    logits[:, :n_tokens] = -50 - torch.rand(32, n_tokens, generator=torch.Generator().manual_seed(2)).bfloat16()
    params = [GREEDY] * 8 + [SamplingParams(50.0, 32, 1.0, seed) for seed in range(24)]
    with open_mesh(n_devices) as mesh:
        sampler = Sampler(n_columns, mesh, n_tokens)
        sampler.set(params)
        drawn = [draw(mesh, sampler, logits) for _ in range(20)]
    assert max(map(max, drawn)) < n_tokens
    best = logits[:, :n_tokens].bfloat16().argmax(-1).tolist()
    assert all(ids[:8] == best[:8] for ids in drawn)
    assert len({id for ids in drawn for id in ids[8:]}) > min(n_tokens, 32) // 2


@pytest.mark.parametrize(("n_tokens", "additions"), [(None, 1), (512, 1), (511, 2)])
def test_nothing_is_added_where_all_columns_are_tokens(n_tokens: int | None, additions: int) -> None:
    with open_mesh(8) as mesh:
        sampler = Sampler(512, mesh, n_tokens)
        sampler.set([GREEDY] * 32)
        with ttnn_cpu.record(ttnn) as calls:
            draw(mesh, sampler, torch.zeros(32, 512))
    assert [call.name for call in calls].count("add") == additions


def test_a_draw_depends_on_the_seed_and_the_index_of_the_token_alone() -> None:
    """Not on the row, nor on what the row or the others drew before."""
    logits = spread_logits()
    with open_mesh(8) as mesh:
        sampler = Sampler(VOCAB, mesh)

        def run(rows: dict[int, int], first: int, count: int) -> dict[int, list[int]]:
            """Of rows with these seeds `count` tokens from index `first` on."""
            params = [SamplingParams(1.5, seed=rows[row]) if row in rows else GREEDY for row in range(32)]
            sampler.set(params, [first if row in rows else 0 for row in range(32)])
            steps = [draw(mesh, sampler, logits) for _ in range(count)]
            assert all(step[row] == int(logits[0].argmax()) for step in steps for row in range(32) if row not in rows)
            return {row: [step[row] for step in steps] for row in rows}

        alone = run({1: 7}, 0, 12)[1]
        others = run({0: 3, 5: 7, 31: 2**64 + 7}, 0, 12)
        assert others[5] == alone
        assert len({tuple(tokens) for tokens in others.values()}) == 3
        assert run({30: 7}, 5, 7)[30] == alone[5:]
        assert len(set(alone)) > 4


def test_forward_leaves_the_index_where_it_is() -> None:
    """As after a prefill pass, which draws for its own rows while the others go on."""
    with open_mesh(1) as mesh:
        sampler = Sampler(VOCAB, mesh)
        sampler.set([SamplingParams(1.5, seed=row) for row in range(32)])
        ids = mesh.put(torch.zeros(1, 1, 1, 32, dtype=torch.int32), ttnn.uint32)
        drawn = []
        for _ in range(2):
            logits = mesh.put(spread_logits()[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT)
            sampler.forward(ttnn.to_memory_config(logits, ttnn.L1_MEMORY_CONFIG), ids)
            drawn.append(mesh.read_replicated(ids).flatten().tolist())
        assert drawn[0] == drawn[1] == draw(mesh, sampler, spread_logits()) != draw(mesh, sampler, spread_logits())
