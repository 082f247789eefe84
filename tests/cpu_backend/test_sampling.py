"""Sampling: greedy, the cuts, frequencies against the distribution, seeds."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, counters, get, open_mesh, put
from ttnn_cpu.ops.sampling import draw

ROWS = ttnn.ROW_MAJOR_LAYOUT


class Sampler:
    """One call of `sampling` for B rows with the same parameters."""

    def __init__(
        self, mesh: ttnn.MeshDevice, logits: torch.Tensor, k: int, p: float = 1.0, temperature: float = 1.0
    ) -> None:
        rows, width = len(logits), max(64, logits.shape[1])
        logits = torch.nn.functional.pad(logits, (0, width - logits.shape[1]), value=float("-inf"))
        self.values = put(mesh, logits.reshape(1, 1, rows, width), ttnn.bfloat16, TILE)
        ids = (torch.arange(width) * 10).repeat(rows, 1).reshape(1, 1, rows, width)
        self.ids = counters(mesh, ids)
        self.k = counters(mesh, [k] * rows, ttnn.uint32)
        self.p = put(mesh, torch.full((rows,), p), ttnn.bfloat16, ROWS)
        self.temp = put(mesh, torch.full((rows,), 1 / temperature), ttnn.bfloat16, ROWS)

    def __call__(self, **keywords: int) -> list[int]:
        result = ttnn.sampling(self.values, self.ids, k=self.k, p=self.p, temp=self.temp, **keywords)
        assert result.shape == [1, 1, 1, self.values.shape[2]]
        assert result.dtype is ttnn.uint32
        return get(result).flatten().tolist()


def test_greedy_takes_the_largest_and_the_first_of_equals() -> None:
    logits = torch.zeros(3, 64)
    logits[0, 40], logits[1, 7], logits[1, 9] = 5.0, 2.0, 2.0
    assert Sampler(open_mesh(), logits, k=1)() == [400, 70, 0]


@pytest.mark.parametrize("k", [1, 32])
def test_a_row_of_garbage_takes_its_first_candidate_and_leaves_the_others_alone(k: int) -> None:
    mesh = open_mesh()
    logits = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    clean = Sampler(mesh, logits, k=k)(seed=3)
    logits[1], logits[2, 5:7] = float("nan"), float("inf")
    dirty = Sampler(mesh, logits, k=k)(seed=3)
    assert dirty[1:3] == [0, 50]
    assert dirty[::3] == clean[::3]


def test_output_tensor_is_written() -> None:
    mesh = open_mesh(2)
    target = counters(mesh, [[[[9, 9]]]], ttnn.uint32)
    logits = torch.zeros(2, 32)
    logits[0, 3] = logits[1, 4] = 9.0
    sampler = Sampler(mesh, logits, k=1)
    result = ttnn.sampling(sampler.values, sampler.ids, sampler.k, sampler.p, sampler.temp, output_tensor=target)
    assert result is target
    assert get(target, 1).flatten().tolist() == [30, 40]


def frequencies(sampler: Sampler, draws: int) -> torch.Tensor:
    counts = torch.zeros(64)
    for _ in range(draws):
        for chosen in sampler():
            counts[chosen // 10] += 1
    return counts


@pytest.mark.parametrize(
    ("k", "p", "temperature"),
    [(32, 1.0, 1.0), (32, 1.0, 2.0), (32, 1.0, 0.5), (5, 1.0, 1.0), (32, 0.5, 1.0), (8, 0.75, 2.0)],
)
def test_frequencies(k: int, p: float, temperature: float) -> None:
    """32 equal rows, 100 steps: chi-square against top-k, then top-p, then renormalised softmax."""
    torch.manual_seed(1)
    logits = torch.zeros(64).normal_(0, 1.5).bfloat16().float()
    counts = frequencies(Sampler(open_mesh(), logits.repeat(32, 1), k, p, temperature), 100)
    order = logits.argsort(descending=True, stable=True)[:k]
    weights = torch.softmax(logits[order] / temperature, 0)
    kept = int((weights.cumsum(0) <= p).sum()) + 1 if p < 1 else k
    expected = torch.zeros(64)
    expected[order[:kept]] = weights[:kept] / weights[:kept].sum()
    assert counts[expected == 0].sum() == 0, "nothing outside the cuts"
    expected = expected * counts.sum()
    likely = expected > 5
    statistic = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
    degrees = int(likely.sum()) - 1
    # mean + 5 standard deviations of chi-square
    assert statistic < degrees + 5 * (2 * degrees) ** 0.5


def test_the_prefix_ends_with_the_candidate_that_exceeds_p() -> None:
    """Weights 0.5, 0.25, 0.125, ..: p = 0.6 keeps two, renormalised to 2/3 and 1/3."""
    values = -torch.arange(32.0).repeat(3, 1) * torch.log(torch.tensor(2.0))
    k, ones = torch.tensor([32] * 3), torch.ones(3)
    chosen = draw(values, k, torch.full((3,), 0.6), ones, torch.tensor([0.66, 0.67, 0.9999]))
    assert chosen.tolist() == [0, 1, 1]
    assert draw(values, k, torch.zeros(3), ones, torch.full((3,), 0.9999)).tolist() == [0, 0, 0]
    assert draw(values, torch.tensor([1, 2, 3]), ones, ones, torch.full((3,), 0.9999)).tolist() == [0, 1, 2]


def test_a_sum_of_exactly_p_does_not_end_the_prefix() -> None:
    """The kernel compares with >: of two equal candidates and p = 0.5 both are kept."""
    values, k = torch.zeros(2, 32), torch.tensor([2, 2])
    assert draw(values, k, torch.full((2,), 0.5), torch.ones(2), torch.tensor([0.49, 0.51])).tolist() == [0, 1]
    assert draw(values, k, torch.full((2,), 0.49), torch.ones(2), torch.tensor([0.49, 0.51])).tolist() == [0, 0]


def test_seeds() -> None:
    mesh = open_mesh()
    sampler = Sampler(mesh, torch.zeros(32, 64), k=32)

    def seeded(seeds: list[int]) -> list[list[int]]:
        ttnn.manual_seed(counters(mesh, seeds, ttnn.uint32), user_ids=counters(mesh, range(32), ttnn.uint32))
        return [sampler() for _ in range(4)]

    first, again = seeded(list(range(100, 132))), seeded(list(range(100, 132)))
    assert first == again
    assert len({tuple(column) for column in zip(*first, strict=True)}) > 16, "rows with different seeds differ"
    other = seeded([7, *range(101, 132)])
    assert [step[1:] for step in other] == [step[1:] for step in first], "a row depends on its own seed only"
    assert [step[0] for step in other] != [step[0] for step in first]
    assert len({tuple(step) for step in first}) == 4, "the generators go on from step to step"


def test_one_seed_gives_every_row_the_same_draw() -> None:
    mesh = open_mesh()
    sampler = Sampler(mesh, torch.zeros(32, 64), k=32)
    assert len(set(sampler(seed=5))) == 1
    assert sampler(seed=5) == sampler(seed=5)
    assert [sampler(seed=s)[0] for s in range(1, 9)] != [sampler(seed=5)[0]] * 8
    ttnn.manual_seed(3, device=mesh)
    assert len(set(sampler())) == 1
    ttnn.manual_seed(4, device=mesh, user_ids=2)
    assert len(set(sampler()[:2])) == 1
    state = [sampler() for _ in range(2)]
    ttnn.manual_seed(2**32 - 1, device=mesh)
    assert len(state) == 2
    assert sampler() != state[0] or sampler() != state[1], "the special seed keeps the generators"


@pytest.mark.parametrize(("k", "p"), [(0, 1.0), (33, 1.0), (32, 1.5), (32, -0.5)])
def test_values_out_of_range(k: int, p: float) -> None:
    with pytest.raises(RuntimeError, match="must be in"):
        Sampler(open_mesh(), torch.zeros(2, 64), k, p)()
