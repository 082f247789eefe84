"""What may be asked for a row: read, refused in one sentence, and told apart from what the chips do."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from models.mixtral8x7b.host_rows import HostRow, RowParams, chip_params, needs_host
from models.mixtral8x7b.sampling import GREEDY, MAX_TOP_K, SamplingError, SamplingParams


def test_the_default_asks_for_what_sampling_params_do() -> None:
    chips = SamplingParams()
    assert {name: getattr(RowParams(), name) for name in vars(chips)} == vars(chips)
    assert not needs_host(RowParams())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": -1}, "temperature is -1.0; expected 0"),
        ({"top_p": 0}, "top_p is 0.0; expected a number above 0"),
        ({"seed": -1}, "seed is -1; expected a whole number of at least 0"),
        ({"top_k": -1}, r"top_k is -1; expected 0 \(all tokens\) or more"),
        ({"top_k": 1.5}, r"top_k is 1.5 \(of type float\); expected a whole number"),
        ({"min_p": 1.01}, "min_p is 1.01; expected 0 to 1"),
        ({"min_p": float("nan")}, "min_p is nan; expected 0 to 1"),
        ({"min_p": "0.1"}, r"min_p is '0.1' \(of type str\); expected a number"),
        ({"presence_penalty": 2.5}, "presence_penalty is 2.5; expected -2 to 2"),
        ({"frequency_penalty": -2.5}, "frequency_penalty is -2.5; expected -2 to 2"),
        ({"repetition_penalty": 0}, "repetition_penalty is 0.0; expected 0.001 to 1000"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty is inf"),
        ({"logit_bias": [1]}, r"logit_bias is \[1\] \(of type list\); expected token ids and a number for each"),
        ({"logit_bias": {"1": 1}}, r"logit_bias has an id that is '1' \(of type str\); expected whole numbers"),
        ({"logit_bias": {5: -101}}, "the bias of token 5 is -101.0; expected -100 to 100"),
        ({"logit_bias": {5: None}}, "the bias of token 5 is not given; expected a number"),
        ({"bad_words": None}, "bad_words is not given; expected a list of words, each a list of token ids"),
        ({"bad_words": "no"}, r"bad_words is 'no' \(of type str\); expected a list of words"),
        ({"bad_words": [[1], "no"]}, r"bad word 2 is 'no' \(of type str\); expected token ids"),
        ({"bad_words": [[1], []]}, "bad word 2 is empty; expected at least one token id"),
        ({"allowed_token_ids": ()}, "allowed_token_ids is empty; expected at least one token id"),
        ({"allowed_token_ids": 5}, r"allowed_token_ids is 5 \(of type int\); expected a list of token ids"),
        ({"min_tokens": -1}, "min_tokens is -1; expected a whole number of at least 0"),
        ({"min_tokens": True}, r"min_tokens is True \(of type bool\); expected a whole number"),
        ({"logprobs": 21}, "logprobs is 21; expected 0 to 20"),
        ({"logprobs": -1}, "logprobs is -1; expected 0 to 20"),
        ({"grammar": 5}, r"grammar is 5 \(of type int\); expected a function that makes a grammar"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(values: dict, message: str) -> None:
    with pytest.raises(SamplingError, match=f"^{message}"):
        RowParams(**values)


@pytest.mark.parametrize("wrong", [-1, 10, 1 << 70])
def test_an_id_that_the_vocabulary_has_not_is_named(wrong: int) -> None:
    given = {"logit_bias": {1: 1.0, wrong: 1.0}, "allowed_token_ids": [1, wrong], "bad_words": [[1, wrong]]}
    for name, values in given.items():
        params = RowParams(**{name: values})
        with pytest.raises(SamplingError, match=f"^{name} has token id {wrong}; the vocabulary is 0 to 9$"):
            HostRow(params, [1], 10)


def test_numbers_and_lists_of_other_libraries() -> None:
    theirs = RowParams(
        np.float32(0.5),
        np.int64(50),
        min_p=Fraction(1, 4),
        logit_bias={np.int64(3): np.float64(2)},
        bad_words=[torch.tensor([1, 2]), np.array([3])],
        allowed_token_ids={np.int16(7), 5},
        logprobs=np.uint8(20),
    )
    assert theirs == RowParams(
        0.5, 50, min_p=0.25, logit_bias={3: 2.0}, bad_words=((1, 2), (3,)), allowed_token_ids=(5, 7), logprobs=20
    )
    assert type(theirs.top_k) is type(theirs.logprobs) is int


def test_later_changes_of_what_was_given_do_not_count() -> None:
    bias, word = {1: 2.0}, [1, 2]
    params = RowParams(logit_bias=bias, bad_words=[word])
    bias[1], word[0] = 3.0, 5
    assert params == RowParams(logit_bias={1: 2.0}, bad_words=[[1, 2]])


def never_called() -> None:
    raise AssertionError


@pytest.mark.parametrize(
    "values",
    [
        {"top_k": 33},
        {"top_k": 0},
        {"min_p": 0.1},
        {"logit_bias": {1: 0.5}},
        {"presence_penalty": -0.5},
        {"frequency_penalty": 0.5},
        {"repetition_penalty": 0.5},
        {"bad_words": [[1]]},
        {"allowed_token_ids": [1]},
        {"min_tokens": 1},
        {"logprobs": 0},
        {"grammar": never_called},
    ],
    ids=lambda given: next(iter(given)),
)
def test_each_of_these_needs_the_host(values: dict) -> None:
    params = RowParams(temperature=1.0, **values)
    assert needs_host(params)
    assert chip_params(params) == GREEDY
    only_drawn = values.keys() & {"top_k", "min_p"}  # greedy rows are not drawn
    assert needs_host(RowParams(**values)) == (not only_drawn)


@pytest.mark.parametrize("top_k", [1, 7, MAX_TOP_K])
def test_what_the_chips_can_do_they_do(top_k: int) -> None:
    params = RowParams(0.7, top_k, 0.9, 1 << 63)
    assert not needs_host(params)
    assert chip_params(params) == SamplingParams(0.7, top_k, 0.9, 1 << 63)
    assert not needs_host(SamplingParams(0.7, top_k))
    assert chip_params(SamplingParams(0.7, top_k)) == SamplingParams(0.7, top_k)


def test_a_greedy_row_may_ask_for_any_top_k() -> None:
    assert chip_params(RowParams(top_k=1000, min_p=0.5)) == GREEDY
