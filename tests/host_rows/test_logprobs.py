"""How likely tokens were: the model's own distribution, before anything was changed or cut."""

import math

import pytest
import torch

from models.mixtral8x7b.host_rows import HostRow, RowParams, score


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 3


def by_loops(values: torch.Tensor) -> list[tuple[int, float]]:
    """All tokens, the most likely first, the lowest id first among equals."""
    numbers = values.tolist()
    total = math.log(sum(math.exp(number) for number in numbers))
    return sorted(((token, number - total) for token, number in enumerate(numbers)), key=lambda pair: -pair[1])


@pytest.mark.parametrize("n", [0, 1, 20])
@pytest.mark.parametrize("temperature", [0.0, 2.0])
def test_logprobs_are_of_the_models_own_distribution(n: int, temperature: float) -> None:
    values = logits(333).round()  # many equals
    params = RowParams(temperature, 5, 0.5, logit_bias={7: 50}, repetition_penalty=2, bad_words=[[3]], logprobs=n)
    drawn = HostRow(params, [1, 2], 333).next_token(values, [4])
    expected = by_loops(values)
    assert [token for token, _ in drawn.top] == [token for token, _ in expected[:n]]
    assert [logprob for _, logprob in drawn.top] == pytest.approx([logprob for _, logprob in expected[:n]], abs=1e-5)
    assert drawn.token == 7
    assert drawn.logprob == pytest.approx(dict(expected)[7], abs=1e-5)


def test_the_greedy_token_has_the_largest_bit_for_bit() -> None:
    """lm-eval compares the two numbers for equality."""
    for seed in range(50):
        values = logits(1024, seed=seed).bfloat16().float()
        drawn = HostRow(RowParams(logprobs=1), [1], 1024).next_token(values, [])
        assert drawn.top == [(drawn.token, drawn.logprob)]


def test_nothing_is_told_unless_asked() -> None:
    assert HostRow(RowParams(min_tokens=1), [1], 333).next_token(logits(333), [])[1:] == (None, [])


def test_a_prompts_positions_have_the_bits_of_a_row_drawn_there() -> None:
    values, ids = logits(37, 1024), torch.randint(0, 1024, (37,), generator=torch.Generator().manual_seed(1)).tolist()
    scored = score(values, ids, 5)
    assert scored == [
        one for start in range(0, 37, 8) for one in score(values[start : start + 8], ids[start : start + 8], 5)
    ]
    for position in (0, 17, 36):
        row = HostRow(RowParams(logprobs=5, allowed_token_ids=[ids[position]]), [1], 1024)
        assert row.next_token(values[position], []) == (ids[position], *scored[position])


def test_more_is_asked_than_there_are_tokens() -> None:
    drawn = HostRow(RowParams(logprobs=20), [1], 3).next_token(torch.arange(3.0), [])
    assert [token for token, _ in drawn.top] == [2, 1, 0]


def test_each_position_has_a_token() -> None:
    with pytest.raises(ValueError, match="zip"):
        score(logits(3, 10), [1, 2], 0)
