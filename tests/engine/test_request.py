"""What cannot be asked for is refused in one sentence, before anything waits."""

from typing import Any

import numpy as np
import pytest

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.engine.engine import Options
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.sampling import SamplingError, SamplingParams


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ids": []}, r"^the prompt is empty; expected at least one token \(BOS\)$"),
        ({"ids": "text"}, "^the prompt is 'text' .* expected token ids, which the tokenizer makes of text$"),
        ({"ids": [1, 2.5]}, "^the prompt has an id that is 2.5 .* expected whole numbers$"),
        ({"ids": None}, "^the prompt is not given; expected a list of token ids$"),
        ({"max_new_tokens": 0}, "^max_new_tokens is 0; expected at least 1$"),
        ({"max_new_tokens": "9"}, "^max_new_tokens is '9' .* expected a whole number$"),
        ({"stop_ids": [None]}, "^stop_ids has an id that is not given; expected whole numbers$"),
        ({"sampling": 0.7}, "^sampling is 0.7 .* expected SamplingParams$"),
        ({"salt": 5}, "^salt is 5 .* expected text$"),
        ({"deadline_s": 0}, "^deadline_s is 0 .* expected a number of seconds above 0$"),
        ({"deadline_s": "soon"}, "^deadline_s is 'soon' .* expected a number of seconds above 0$"),
        ({"deadline_s": float("nan")}, "^deadline_s is nan .* expected a number of seconds above 0$"),
        ({"deadline_s": True}, "^deadline_s is True .* expected a number of seconds above 0$"),
    ],
)
def test_of_another_kind(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        Request(**({"ids": [1], "max_new_tokens": 5} | change))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (Request([1, 100], 5), "^the prompt has token id 100; the vocabulary is 0 to 99$"),
        (Request([-1, 1], 5), "^the prompt has token id -1; the vocabulary is 0 to 99$"),
        (Request([1], 5, stop_ids=[3, 100]), "^stop_ids has token id 100; the vocabulary is 0 to 99$"),
        (
            Request([1] * 497, 4),
            "^the prompt has 497 tokens; with 4 new ones it exceeds the context of 500: shorten it to 496$",
        ),
        (Request([1], 500), "^the prompt has 1 tokens; .* the context of 500: ask for fewer new tokens$"),
        (
            Request([1] * 257, 65),
            "^257 prompt tokens and 65 new ones need 6 KV blocks of 64; the whole cache has 5: shorten",
        ),
    ],
)
def test_more_than_the_model_has(request_: Request, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence):
        request_.check(vocab_size=100, max_context=500, n_blocks=5)


def test_experts_of_a_model_that_notes_none() -> None:
    request = Request([1], 5, experts=True)
    with pytest.raises(RequestError, match="^experts are asked for, which this model does not note; ask without them$"):
        request.check(vocab_size=100, max_context=500, n_blocks=5)
    request.check(vocab_size=100, max_context=500, n_blocks=5, notes_experts=True)


def test_what_fits_exactly_is_taken() -> None:
    Request([0, 99], 498, stop_ids={0, 99}).check(vocab_size=100, max_context=500, n_blocks=8)
    Request([1] * 257, 64).check(vocab_size=100, max_context=500, n_blocks=5)  # the last token is not fed


def test_numbers_and_lists_of_other_libraries() -> None:
    one = Request(np.array([1, 2]), np.int64(3), stop_ids=np.array([4]), deadline_s=np.float32(1.5))
    assert (one.ids, one.max_new_tokens, one.stop_ids) == ([1, 2], 3, frozenset([4]))


def test_impossible_sampling() -> None:
    with pytest.raises(SamplingError, match="^top_p is 0.0; expected a number above 0 and at most 1$"):
        Request([1], 5, SamplingParams(temperature=1, top_p=0))


def test_impossible_options() -> None:
    with pytest.raises(RequestError, match="^most_waiting is 0; expected at least 1$"):
        Options(most_waiting=0)
    with pytest.raises(RequestError, match="^pass_tokens is 1000; expected one of 256, 512, .*, 16384$"):
        Options(pass_tokens=1000)
