"""What is drawn from, against `sampling.probabilities`, transformers and loops; and the draw itself."""

import math
from itertools import accumulate

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MinPLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from models.mixtral8x7b.host_rows import HostRow, RowParams
from models.mixtral8x7b.host_rows.cuts import weights
from models.mixtral8x7b.host_rows.random_numbers import BITS, random_number
from models.mixtral8x7b.sampling import SamplingParams, probabilities

QUARTERS = st.lists(st.integers(-20, 20), min_size=1, max_size=70).map(lambda numbers: torch.tensor(numbers) / 4)


def distribution(values: torch.Tensor, params: RowParams) -> torch.Tensor:
    found = weights(values, params)
    return found / found.sum()


def logits(n: int, seed: int = 0, spread: float = 3.0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) * spread


@settings(deadline=None)
@given(
    QUARTERS,
    st.sampled_from([0.01, 0.5, 1.0, 1.7]),
    st.sampled_from([1, 2, 7, 32]),
    st.sampled_from([0.05, 0.37, 0.912, 1.0]),
)
def test_as_sampling_defines_it_with_many_equal_logits(
    values: torch.Tensor, temperature: float, top_k: int, top_p: float
) -> None:
    expected = probabilities(values[None], SamplingParams(temperature, top_k, top_p))[0]
    got = distribution(values, RowParams(temperature, top_k, top_p))
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0, 50.0])
@pytest.mark.parametrize("top_p", [0.01, 0.5, 0.9, 0.999])
def test_the_nucleus_of_a_whole_vocabulary(temperature: float, top_p: float) -> None:
    """No top_k, tokens told apart by a full sort in float64; odd size."""
    values = logits(31_999)
    shares = (values.double() / temperature).softmax(0).tolist()
    order = sorted(range(len(shares)), key=lambda token: -shares[token])
    before = [0.0, *accumulate(shares[token] for token in order)]
    expected = {token for token, less_than in zip(order, before, strict=False) if less_than < top_p}
    kept = set(distribution(values, RowParams(temperature, 0, top_p)).nonzero()[:, 0].tolist())
    assert len(kept ^ expected) <= 2 + len(expected) // 1000, "but for a token whose share decides by a rounding"


def test_all_equal_logits_keep_the_lowest_ids() -> None:
    kept = distribution(torch.zeros(1000), RowParams(1.0, 0, 0.2505))
    assert kept.nonzero()[:, 0].tolist() == list(range(251))
    assert distribution(torch.zeros(1000), RowParams(1.0, 40)).nonzero()[:, 0].tolist() == list(range(40))


@pytest.mark.parametrize("top_k", [0, 1, 33, 500, 999, 1000, 2000])
@pytest.mark.parametrize("min_p", [0.0, 0.05, 0.5, 1.0])
def test_as_transformers_cuts(top_k: int, min_p: float) -> None:
    values = logits(1000)
    expected = values[None] / 1.3
    for warper in (
        TopKLogitsWarper(top_k) if top_k else None,
        MinPLogitsWarper(min_p) if min_p else None,
        TopPLogitsWarper(0.87),
    ):
        expected = warper(None, expected) if warper else expected
    got = distribution(values, RowParams(1.3, top_k, 0.87, min_p=min_p))
    torch.testing.assert_close(got, expected[0].softmax(0))


def test_top_p_is_a_share_of_what_the_other_cuts_leave() -> None:
    values = torch.tensor([0.4, 0.3, 0.2, 0.1]).log()
    assert distribution(values, RowParams(1.0, 0, 0.45)).nonzero()[:, 0].tolist() == [0, 1]
    assert distribution(values, RowParams(1.0, 2, 0.45)).nonzero()[:, 0].tolist() == [0]  # 0.4 of 0.7
    assert distribution(values, RowParams(1.0, 0, 0.45, min_p=0.6)).nonzero()[:, 0].tolist() == [0]


def test_min_p_is_a_share_of_the_most_likely_after_the_temperature() -> None:
    values = torch.tensor([0.8, 0.2]).log()
    assert distribution(values, RowParams(1.0, 0, min_p=0.3)).tolist() == [1, 0]
    assert distribution(values, RowParams(2.0, 0, min_p=0.3)).count_nonzero() == 2  # the square root of a quarter


def test_draws_follow_the_distribution() -> None:
    """Chi-square of 1500 seeds, and of 1500 tokens of one seed."""
    values, params = logits(50, spread=1.0), {"temperature": 0.8, "top_k": 40, "top_p": 0.95, "min_p": 0.02}
    expected = distribution(values, RowParams(**params)) * 1500
    by_seed = [HostRow(RowParams(**params, seed=seed), [1], 50).next_token(values, []).token for seed in range(1500)]
    row = HostRow(RowParams(**params), [1], 50)
    by_index = [row.next_token(values, [0] * index).token for index in range(1500)]
    for tokens in (by_seed, by_index):
        counts = torch.tensor(tokens).bincount(minlength=50)
        assert counts[expected == 0].sum() == 0
        likely = expected > 5
        statistic = float(((counts - expected)[likely] ** 2 / expected[likely]).sum())
        degrees = int(likely.sum()) - 1
        assert statistic < degrees + 5 * math.sqrt(2 * degrees)


def test_every_bit_of_a_seed_and_every_index_counts() -> None:
    seeds = [0, *(1 << bit for bit in (0, 1, 30, 31, 32, 33, 62, 63, 64, 1000))]
    numbers = {random_number(seed, index) for seed in seeds for index in range(100)}
    assert len(numbers) == len(seeds) * 100
    assert all(0 <= number < 1 for number in numbers)
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.05


def test_the_largest_random_number_still_draws_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    highest, row = 1 - 2.0**-BITS, "models.mixtral8x7b.host_rows.row.random_number"
    for number, expected in ((highest, 2), (0.0, 1)):
        monkeypatch.setattr(row, lambda seed, index, number=number: number)
        for seed in range(30):
            shares = torch.tensor([0.0, 0.3, 0.7, 0.0]) * torch.rand((), generator=torch.Generator().manual_seed(seed))
            params = RowParams(1.0, 0, seed=seed, min_p=0.01)
            assert HostRow(params, [1], 4).next_token(shares.log(), []).token == expected
