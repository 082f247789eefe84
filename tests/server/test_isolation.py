"""Requests side by side: each gets what it gets alone, whatever its neighbours ask for. Over a socket, 32 at once."""

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import openai
import pytest

from tests.server.conftest import Served

FIELDS = {"model": "mixtral", "prompt": "Once", "max_tokens": 12}
Answers = list[openai.types.Completion]


def ask(address: str, requests: Sequence[dict[str, Any]]) -> Answers:
    """All at the same time; what OpenAI's client does not know goes into extra_body."""

    async def run() -> Answers:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=8, timeout=60) as client:
            extra = (
                "top_k",
                "min_p",
                "repetition_penalty",
                "min_tokens",
                "allowed_token_ids",
                "bad_words",
                "ignore_eos",
            )
            return await asyncio.gather(
                *(
                    client.completions.create(
                        **FIELDS | {key: value for key, value in one.items() if key not in extra},
                        extra_body={key: one[key] for key in extra if key in one},
                    )
                    for one in requests
                )
            )

    return asyncio.run(run())


def texts(address: str, requests: Sequence[dict[str, Any]]) -> list[str]:
    return [answer.choices[0].text for answer in ask(address, requests)]


KINDS: list[dict[str, Any]] = [
    {"temperature": 0},
    {"temperature": 1, "seed": 1},
    {"temperature": 0.7, "seed": 2, "top_p": 0.8},
    {"temperature": 1.5, "seed": 3, "top_k": 10},
    {"temperature": 1, "seed": 4, "top_k": 100},
    {"temperature": 1, "seed": 5, "min_p": 0.1},
    {"temperature": 1, "seed": 6, "presence_penalty": 1.5, "frequency_penalty": -1},
    {"temperature": 1, "seed": 7, "repetition_penalty": 2},
    {"temperature": 0, "logit_bias": {"300": 8, "301": 8}},
    {"temperature": 0, "allowed_token_ids": [300, 310, 320], "min_tokens": 12},
]


def test_ten_settings_in_one_batch_in_any_order(address: str) -> None:
    alone = [texts(address, [kind])[0] for kind in KINDS]
    assert len(set(alone)) == len(alone)
    for seed in range(2):
        order = [number % len(KINDS) for number in range(32)]
        random.Random(seed).shuffle(order)
        assert texts(address, [KINDS[number] for number in order]) == [alone[number] for number in order]


@pytest.mark.parametrize("n", [1, 10, 32])
def test_seeds_repeat_and_differ(address: str, n: int) -> None:
    seeds = [0, 42, 123, 999]
    found = {seed: set(texts(address, [{"temperature": 1, "seed": seed}] * n)) for seed in seeds}
    assert all(len(ones) == 1 for ones in found.values())
    assert len(set.union(*found.values())) == len(seeds)


def test_different_seeds_begin_differently(address: str) -> None:
    firsts = texts(address, [{"temperature": 2, "seed": seed, "max_tokens": 1} for seed in range(32)])
    assert len(set(firsts)) >= 11


def test_without_a_seed_answers_differ(address: str) -> None:
    assert len(set(texts(address, [{"temperature": 1}] * 32))) >= 5


@pytest.mark.parametrize("n", [7, 19, 32, 37])
def test_hot_batches_of_any_size_vary(address: str, n: int) -> None:
    assert len(set(texts(address, [{"temperature": 2}] * n))) > n // 2


def test_greedy_beside_sampled(address: str) -> None:
    (greedy,) = texts(address, [{"temperature": 0}])
    found = texts(address, [{"temperature": 0} if n % 2 else {"temperature": 1, "top_k": 10} for n in range(32)])
    assert set(found[1::2]) == {greedy}
    assert set(texts(address, [{"temperature": 1, "top_k": 1}] * 8)) == {greedy}


@pytest.mark.parametrize("penalty", ["presence_penalty", "frequency_penalty", "repetition_penalty"])
def test_penalties_see_only_their_own_row(address: str, penalty: str) -> None:
    liked = {"temperature": 0, "logit_bias": {str(token): 9 for token in range(300, 306)}, "max_tokens": 24}
    found = texts(address, [liked | ({penalty: 1.8} if n % 2 else {}) for n in range(32)])
    assert len(set(found[0::2])) == len(set(found[1::2])) == 1
    assert found[0] != found[1]


def test_a_frequency_penalty_lowers_the_count_of_a_token(address: str, served: Served) -> None:
    letter = served.tokenizer.token_bytes(300).decode()
    plain, fewer = texts(
        address,
        [{"temperature": 0, "logit_bias": {"300": 14}, "max_tokens": 60, "frequency_penalty": p} for p in (0, 2)],
    )
    assert plain.count(letter) > 2 * fewer.count(letter)


@pytest.mark.parametrize("n_top", [0, 1, 5])
@pytest.mark.parametrize("n", [1, 16, 32, 48])
def test_logprobs_in_batches_of_any_size(address: str, n: int, n_top: int) -> None:
    for answer in ask(address, [{"temperature": 1, "seed": number, "logprobs": n_top} for number in range(n)]):
        found = answer.choices[0].logprobs
        assert found is not None
        assert all(value is not None for value in found.token_logprobs)
        assert all(max(1, n_top) <= len(top) <= n_top + 1 for top in found.top_logprobs)


def test_one_with_many_logprobs_leaves_the_others_as_they_are(address: str) -> None:
    alone = texts(address, [{"temperature": 1, "seed": 1}])
    mixed = [{"temperature": 1, "seed": 2, "logprobs": 20, "echo": True}] + [{"temperature": 1, "seed": 1}] * 31
    assert texts(address, mixed)[1:] == alone * 31
