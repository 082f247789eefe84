import pytest
import torch

from models.mixtral8x7b.sampling import SEED_BITS, SamplingError, SamplingParams, mixed_seed, probabilities, sample

LOGITS = torch.log(torch.tensor([[0.1, 0.4, 0.2, 0.3]]))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (SamplingParams(0), [0, 1, 0, 0]),
        (SamplingParams(1), [0.1, 0.4, 0.2, 0.3]),
        (SamplingParams(1, top_k=2), [0, 4 / 7, 0, 3 / 7]),
        (SamplingParams(1, top_p=0.7), [0, 4 / 7, 0, 3 / 7]),  # 0.4 + 0.3 reach 0.7
        (SamplingParams(1, top_p=0.71), [0, 4 / 9, 2 / 9, 3 / 9]),
        (SamplingParams(1, top_p=0.01), [0, 1, 0, 0]),  # the best token is always kept
        (SamplingParams(1, top_p=5e-324), [0, 1, 0, 0]),
        (SamplingParams(0.5), [1 / 30, 16 / 30, 4 / 30, 9 / 30]),
    ],
    ids=str,
)
def test_distribution_by_hand(params: SamplingParams, expected: list[float]) -> None:
    torch.testing.assert_close(probabilities(LOGITS, params)[0], torch.tensor(expected, dtype=torch.float32))


def test_greedy_takes_the_lowest_of_equal_ids() -> None:
    assert probabilities(torch.tensor([[1.0, 3.0, 3.0]]), SamplingParams(0)).argmax() == 1


def test_samples_follow_the_distribution() -> None:
    ids = sample(LOGITS.expand(4000, 4), SamplingParams(1), torch.Generator().manual_seed(0))
    torch.testing.assert_close(ids.bincount(minlength=4) / 4000, LOGITS[0].exp(), atol=0.03, rtol=0)


def test_every_bit_of_a_seed_counts() -> None:
    """However long it is; and a change anywhere changes the whole of what the chips get."""
    seeds = [0, 1, *(1 + (1 << bit) for bit in (1, 30, 31, 32, 33, 63, 64, 1000, 20000))]
    mixed = [mixed_seed(seed) for seed in seeds]
    assert len(set(mixed)) == len(mixed)
    assert all(0 <= value < 1 << SEED_BITS for value in mixed)
    assert max(mixed) >> SEED_BITS - 1 == 1
    flipped = [mixed_seed(7) ^ mixed_seed(7 ^ 1 << bit) for bit in range(64)]
    assert all(4 < bits.bit_count() < 27 for bits in flipped)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -0.1}, r"temperature is -0.1; expected 0 \(greedy\) or a number of at least 0.01"),
        ({"temperature": 1e-45}, "temperature is 1e-45"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"top_k": 0}, "top_k is 0; expected 1 to 32"),
        ({"top_k": 33}, "top_k is 33; expected 1 to 32: the chips draw from the 32 best of each"),
        ({"top_p": 0.0}, "top_p is 0.0; expected a number above 0"),
        ({"top_p": 1.1}, "top_p is 1.1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_values_out_of_range_are_named(values: dict, message: str) -> None:
    with pytest.raises(SamplingError, match=message):
        SamplingParams(**values)
