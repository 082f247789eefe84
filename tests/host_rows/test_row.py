"""A row, token after token, against loops and transformers: what changes logits, what is forbidden, in which order."""

import math
from collections.abc import Collection
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    MinNewTokensLengthLogitsProcessor,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
)

from models.mixtral8x7b.host_rows import HostRow, NoTokenError, RowParams
from models.mixtral8x7b.host_rows.forbidden import Forbidden
from models.mixtral8x7b.host_rows.penalties import Penalties
from models.mixtral8x7b.sampling import GREEDY, sample
from tests.host_rows.loops import changed

V = 37  # not a whole number of a mask's words


class Only:
    """A grammar that allows the same tokens always, and keeps what it was told."""

    def __init__(self, allowed: Collection[int], n: int = V) -> None:
        words = [sum(1 << bit for bit in range(32) if word * 32 + bit in allowed) for word in range(-(-n // 32))]
        self._mask = torch.tensor([word - (1 << 32) if word >> 31 else word for word in words], dtype=torch.int32)
        self.told: list[int] = []

    def mask(self) -> torch.Tensor:
        return self._mask

    def take(self, token: int) -> None:
        self.told.append(token)


def logits(seed: int = 0, n: int = V) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed)) * 2


def after(params: RowParams, values: torch.Tensor, prompt: list[int], answer: list[int], stop_ids=()) -> torch.Tensor:
    """The logits of a row that came token by token to this answer."""
    penalties, forbidden = Penalties(params, prompt, len(values)), Forbidden(params, prompt, len(values), stop_ids)
    for token in answer:
        penalties.take(token)
        forbidden.take(token)
    result = values.clone()
    penalties.apply(result)
    forbidden.apply(result)
    return result


ids = st.lists(st.integers(0, V - 1), max_size=12)
few = st.lists(st.integers(0, 3), max_size=12)
some_params = st.fixed_dictionaries(
    {
        "logit_bias": st.dictionaries(st.integers(0, V - 1), st.sampled_from([-100, -1.5, 0.25, 100]), max_size=5),
        "presence_penalty": st.sampled_from([0, 1.5, -2]),
        "frequency_penalty": st.sampled_from([0, 0.75, -1]),
        "repetition_penalty": st.sampled_from([1, 0.5, 1.3]),
        "bad_words": st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3), max_size=6),
        "allowed_token_ids": st.none() | st.sets(st.integers(0, 8), min_size=1),
        "min_tokens": st.integers(0, 8),
    }
).map(lambda values: RowParams(**values))


@settings(deadline=None)
@given(
    some_params, few | ids, few | ids, st.sets(st.integers(0, 8), max_size=3), st.none() | st.sets(st.integers(0, 8))
)
def test_all_of_it_at_once_as_loops_do_it(
    params: RowParams, prompt: list[int], answer: list[int], stop_ids: set[int], may_come: set[int] | None
) -> None:
    values = logits()
    expected = torch.tensor(changed(values.tolist(), params, prompt, answer, stop_ids, may_come))
    grammar = None if may_come is None else Only(may_come)
    asked = RowParams(**(vars(params) | {"grammar": grammar and (lambda: grammar)}))
    torch.testing.assert_close(after(asked, values, prompt, answer, stop_ids), expected)
    row, before = HostRow(asked, prompt, V, stop_ids), values.clone()
    if expected.max() == -math.inf:
        with pytest.raises(NoTokenError, match=f"^nothing may come as token {len(answer) + 1} of the answer"):
            row.next_token(values, answer)
    else:
        assert row.next_token(values, answer).token == int(after(asked, values, prompt, answer, stop_ids).argmax())
    assert values.equal(before), "the caller's logits stay as they are"


@pytest.mark.parametrize("prompt", [[1, 2, 3], [5, 5, 9, 1]])
@pytest.mark.parametrize("answer", [[], [4, 1], [9, 1, 2, 7]])
def test_as_transformers_changes_logits(prompt: list[int], answer: list[int]) -> None:
    words = [[4], [1, 2], [9, 1, 2], [2, 7, 8]]
    bias = {3: 2.5, 9: -4.0}
    cases = [
        (RowParams(repetition_penalty=1.7), RepetitionPenaltyLogitsProcessor(1.7)),
        (RowParams(repetition_penalty=0.4), RepetitionPenaltyLogitsProcessor(0.4)),
        (RowParams(bad_words=words), NoBadWordsLogitsProcessor(words, eos_token_id=0)),
        (RowParams(logit_bias=bias), SequenceBiasLogitsProcessor({(token,): value for token, value in bias.items()})),
        (RowParams(min_tokens=2), MinNewTokensLengthLogitsProcessor(len(prompt), 2, [6, 0], device="cpu")),
    ]
    for params, processor in cases:
        expected = processor(torch.tensor([[*prompt, *answer]]), logits()[None])[0]
        assert after(params, logits(), prompt, answer, stop_ids=[0, 6]).equal(expected), params


def test_presence_and_frequency_see_the_answer_only() -> None:
    """OpenAI's formula: logit - count * frequency - (count > 0) * presence, of what was generated."""
    params = RowParams(presence_penalty=0.5, frequency_penalty=0.25)
    taken = logits() - after(params, logits(), [1, 2, 3], [4, 4, 1, 4])
    torch.testing.assert_close(taken[:6], torch.tensor([0, 0.75, 0, 0, 1.25, 0]))


def test_the_bias_comes_before_the_penalties_and_what_is_forbidden_after_them() -> None:
    values = torch.tensor([1.0, 1.5, -9.0])
    # (1 + 3) / 2 = 2 is first; a bias behind the penalty, 1 / 2 + 3, would make it 3.5
    assert HostRow(RowParams(logit_bias={0: 3, 1: 0.6}, repetition_penalty=2), [0], 3).next_token(values, []).token == 1
    params = RowParams(logit_bias={0: 100}, allowed_token_ids=[1, 2], bad_words=[[1]])
    assert HostRow(params, [0], 3).next_token(values, []).token == 2


def test_a_seeded_draw_is_of_the_changed_logits_and_cut_after_them() -> None:
    values = torch.tensor([9.0, 1.0, 1.0, 0.0])
    params = {"temperature": 1.0, "top_k": 2, "bad_words": [[0]]}
    drawn = {HostRow(RowParams(**params, seed=seed), [0], 4).next_token(values, []).token for seed in range(60)}
    assert drawn == {1, 2}


def test_a_word_of_several_tokens_never_comes_even_where_the_prompt_began_it() -> None:
    word, values = [1, 2, 3], torch.tensor([0.0, 1.0, 2.0, 3.0])
    row = HostRow(RowParams(bad_words=[word]), [1, 2], 4)
    assert row.next_token(values, []).token == 2
    assert row.next_token(values, [2]).token == 3, "2, 2, 3 is another word"


def test_a_greedy_row_is_what_sampling_takes() -> None:
    for seed in range(20):
        values = (logits(seed) * 2).round()
        expected = int(sample(values[None], GREEDY, torch.Generator())[0])
        assert HostRow(RowParams(top_k=100, logprobs=0), [1], V).next_token(values, []).token == expected


def test_a_grammar_decides_and_is_told_every_token_once() -> None:
    grammar = Only({3, 35})
    row = HostRow(RowParams(grammar=lambda: grammar), [1, 2], V)
    answer: list[int] = []
    for seed in range(5):
        answer.append(row.next_token(logits(seed), answer).token)
        assert row.next_token(logits(seed), answer[:-1] + answer[-1:]).token in (3, 35), "asked again"
    assert grammar.told == answer
    assert set(answer) == {3, 35}


def test_answers_of_one_request_have_a_grammar_each() -> None:
    made: list[Only] = []

    def make() -> Only:
        made.append(Only({3, 4}))
        return made[-1]

    params = RowParams(grammar=make)
    rows = [HostRow(params, [1], V) for _ in range(2)]
    rows[0].next_token(logits(), [3, 4])
    assert [grammar.told for grammar in made] == [[3, 4], []]


def test_an_answer_that_can_only_end_ends() -> None:
    params = RowParams(min_tokens=5, grammar=lambda: Only({2}))
    assert HostRow(params, [1], V, stop_ids={2, 3, 10**9}).next_token(logits(), []).token == 2


def test_min_tokens_lasts_as_long_as_it_says() -> None:
    row, values, answer = HostRow(RowParams(min_tokens=3), [1], 4, stop_ids=[3]), torch.arange(4.0), []
    for _ in range(5):
        answer.append(row.next_token(values, answer).token)
    assert answer == [2, 2, 2, 3, 3]


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), -float("inf")])
def test_a_row_of_garbage_is_one_sentence(garbage: float) -> None:
    values = torch.full((V,), garbage)
    with pytest.raises(NoTokenError, match=f"^the model gave no numbers for token 3 of the answer .* {garbage}"):
        HostRow(RowParams(logprobs=1), [1], V).next_token(values, [1, 2])


def test_columns_out_of_reach_are_no_garbage() -> None:
    values = logits()
    values[5:] = -math.inf
    for temperature in (0.0, 1.0):
        drawn = HostRow(RowParams(temperature, 0, logprobs=20), [1], V).next_token(values, [])
        assert drawn.token < 5
        assert {logprob for token, logprob in drawn.top if token >= 5} == {-math.inf}


def everything(seed: int) -> RowParams:
    return RowParams(
        0.9,
        0,
        0.9,
        seed,
        min_p=0.01,
        logit_bias={3: 2.0},
        presence_penalty=0.5,
        frequency_penalty=0.25,
        repetition_penalty=1.2,
        bad_words=[[1, 2], [3, 4, 5]],
        min_tokens=4,
        logprobs=3,
        grammar=lambda: Only(range(1, V)),
    )


def test_a_row_goes_on_as_if_it_had_never_been_interrupted() -> None:
    """One row from the start, and a new one for every token, which is given the answer so far."""
    for seed in (0, 1, 1 << 63):
        row, answer = HostRow(everything(seed), [5, 6], V, [0]), []
        for step in range(20):
            drawn = row.next_token(logits(step), answer)
            assert drawn == row.next_token(logits(step), answer)
            assert drawn == HostRow(everything(seed), [5, 6], V, [0]).next_token(logits(step), answer)
            answer.append(drawn.token)


def test_seeds_draw_differently() -> None:
    flat = torch.zeros(1000)
    seeds = [sum(1 << bit for bit in bits) for bits in product((0, 31), (32, 40), (62, 63))]
    rows = [HostRow(RowParams(1.0, 0, seed=seed), [1], 1000) for seed in seeds]
    answers = {tuple(row.next_token(flat, [0] * index).token for index in range(4)) for row in rows}
    assert len(answers) == len(seeds)
