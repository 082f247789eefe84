"""Generation: columns of ids, whatever the mixture of users.

.venv/bin/python -m pytest tests/test_generator.py
"""

import copy
from collections.abc import Sequence
from contextlib import contextmanager

import pytest
import torch

from models.mixtral8x7b.generator import Generator, RequestError
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.tt.cases import exact_mesh, random_ids, reference, sliceable_config, weights_of

CONFIG = sliceable_config()


def build(mesh, n_blocks: int = 64, max_context: int = 256, **options) -> Mixtral:
    return Mixtral(weights_of(reference(CONFIG), mesh), mesh, PERFORMANCE, n_blocks, max_context, **options)


@contextmanager
def exact_model(n_devices: int = 8, **options):
    with exact_mesh(n_devices) as mesh:
        yield build(mesh, **options)


def prompts_of(*lengths: int) -> list[list[int]]:
    return [random_ids(CONFIG, length, seed=number).tolist() for number, length in enumerate(lengths)]


def answers(columns: Sequence[Sequence[int | None]]) -> list[list[int]]:
    return [[token for token in user if token is not None] for user in zip(*columns, strict=True)]


def greedy(prompt: list[int], n_new: int) -> list[int]:
    """The reference's answer, computed anew from the whole text for every token."""
    ids = list(prompt)
    for _ in range(n_new):
        ids.append(int(reference(CONFIG)(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(prompt) :]


@pytest.mark.parametrize("trace", [False, True], ids=["eager", "traced"])
@pytest.mark.parametrize("prefill", [None, 0, 5, 64])
def test_users_of_different_lengths_get_the_references_answers(trace: bool, prefill: int | None) -> None:
    prompts = prompts_of(1, 7, 33, 64, 90)
    with exact_model() as model:
        columns = list(Generator(model, trace).generate(prompts, 6, prefill=prefill))
    assert answers(columns) == [greedy(prompt, 6) for prompt in prompts]


def test_32_users_get_what_each_gets_alone() -> None:
    prompts = prompts_of(*range(1, 33))
    with exact_model() as model:
        generator = Generator(model, trace=True)
        together = answers(list(generator.generate(prompts, 5)))
        assert together[::7] == [answers(list(generator.generate([prompt], 5)))[0] for prompt in prompts[::7]]
        assert together[::5] == [greedy(prompt, 5) for prompt in prompts[::5]]


def test_a_stop_id_ends_a_user_and_the_others_go_on() -> None:
    prompts = prompts_of(5, 9, 13)
    full = [greedy(prompt, 8) for prompt in prompts]
    stop = full[1][2]
    expected = [ids[: ids.index(stop) + 1] if stop in ids else ids for ids in full]
    assert len(expected[1]) < 8
    with exact_model() as model:
        columns = list(Generator(model, trace=False).generate(prompts, 8, stop_ids={stop}))
    assert answers(columns) == expected
    assert all(column[1] is None for column in columns[len(expected[1]) :])


def test_blocks_come_back_when_users_finish_and_when_a_caller_stops_early() -> None:
    with exact_model(n_blocks=6) as model:
        generator = Generator(model, trace=False)
        for _ in range(3):  # 2 + 1 + 1 blocks each time: twice would not fit
            list(generator.generate(prompts_of(70, 9, 3), 4))
        stopped = generator.generate(prompts_of(70, 9, 3), 4)
        next(stopped)
        stopped.close()
        # these need 4 blocks each: one waits for the other
        assert answers(list(generator.generate(prompts_of(196, 196), 4))) == [
            greedy(p, 4) for p in prompts_of(196, 196)
        ]


def test_freed_blocks_are_reused_without_a_trace_of_the_earlier_user() -> None:
    with exact_model(n_blocks=2) as model:
        generator = Generator(model, trace=True)
        list(generator.generate(prompts_of(120), 5))
        assert answers(list(generator.generate(prompts_of(8, 9), 5))) == [greedy(p, 5) for p in prompts_of(8, 9)]


def test_traced_equals_eager_bit_for_bit_with_rounding() -> None:
    prompts, params = prompts_of(3, 40, 66), [GREEDY, SamplingParams(0.8, 20, 0.9, 7), SamplingParams(1.5, seed=1)]
    runs = []
    for trace in (False, True):
        with open_mesh(8) as mesh:
            model = build(mesh)
            columns = list(Generator(model, trace).generate(prompts, 12, params))
            # one more step over what the users left in their blocks
            model.state.set_blocks([[0], [1], [2, 3]] + [[]] * 29)
            model.state.set_rows([5] * 32, [len(prompt) + 11 for prompt in prompts] + [NO_USER] * 29)
            runs.append((columns, model.read_logits(model.decode_logits())[:3]))
    assert runs[0][0] == runs[1][0]
    assert torch.equal(runs[0][1], runs[1][1])
    assert runs[0][1].isfinite().all()


def test_a_seeded_user_repeats_whoever_else_is_there() -> None:
    params = SamplingParams(temperature=1.2, top_k=32, seed=11)
    prompts = prompts_of(20, 30, 90)
    with open_mesh(8) as mesh:
        generator = Generator(build(mesh), trace=True)
        others = [GREEDY, SamplingParams(0.7, seed=5), params]
        alone = answers(list(generator.generate([prompts[1], prompts[0], prompts[2]], 10, others)))[2]
        again = answers(list(generator.generate(prompts, 10, [params, GREEDY, params])))[2]
        other_seed = answers(list(generator.generate(prompts, 10, SamplingParams(1.2, 32, seed=12))))[2]
    assert alone == again
    assert other_seed != alone


def test_seeds_that_differ_in_any_bit_draw_other_tokens() -> None:
    seeds = (1, 2**31 + 1, 2**32 + 1, 2**63 + 1, 2**64 + 1)
    with open_mesh(1) as mesh:
        generator = Generator(build(mesh), trace=False)
        drawn = answers(
            list(generator.generate(prompts_of(9) * 5, 8, [SamplingParams(1.0, seed=seed) for seed in seeds]))
        )
    assert len({tuple(tokens) for tokens in drawn}) == len(seeds)


def test_a_seeded_user_repeats_in_any_row_and_however_its_prompt_is_fed() -> None:
    """A token's random number is that of the seed and of the token's index in the answer, not of a step."""
    prompts, params = prompts_of(9, 5), SamplingParams(1.0, seed=3)
    with exact_model(1) as model:
        generator = Generator(model, trace=False)
        alone = answers(list(generator.generate(prompts[1:], 8, params)))
        runs = [answers(list(generator.generate(prompts, 8, [GREEDY, params], prefill=n)))[1:] for n in (None, 4, 0)]
    assert runs == [alone] * 3


def test_the_second_draw_of_a_seed_uses_other_random_numbers_than_the_first() -> None:
    """All logits alike: what is drawn is the random number, out of 32."""
    model = copy.deepcopy(reference(CONFIG))
    model.output.weight.zero_()
    with open_mesh(1) as mesh:
        generator = Generator(Mixtral(weights_of(model, mesh), mesh, PERFORMANCE, 32, 64), trace=False)
        params = [SamplingParams(1.0, seed=seed) for seed in range(32)]
        first, second = generator.generate(prompts_of(3) * 32, 2, params)
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 8


def test_a_finished_user_leaves_the_blocks_of_the_others_alone() -> None:
    """Its 64 tokens fill its only block; a step further would write where the page table has 0, the other's block."""
    prompts = prompts_of(62, 54)
    with exact_model() as model:
        columns = list(Generator(model, trace=False).generate(prompts, 10, prefill=0))
    assert answers(columns) == [greedy(prompt, 10) for prompt in prompts]


def test_two_groups_at_once_are_refused_and_the_first_goes_on() -> None:
    with exact_model() as model:
        generator = Generator(model, trace=False)
        first = generator.generate(prompts_of(9), 4)
        columns = [next(first)]
        with pytest.raises(RequestError, match="another group of users is being served"):
            next(generator.generate(prompts_of(5), 4))
        assert answers(columns + list(first)) == [greedy(prompts_of(9)[0], 4)]
        assert answers(list(generator.generate(prompts_of(5), 4))) == [greedy(prompts_of(5)[0], 4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": []}, "0 users; expected 1 to 32"),
        ({"prompts": [[1]] * 33}, "33 users; expected 1 to 32"),
        ({"prompts": [[1], []]}, "the prompt of user 2 is empty"),
        (
            {"prompts": [[1] * 250]},
            "user 1 has 250 tokens; with 10 new ones it exceeds the context of 256: shorten it to 246",
        ),
        ({"prompts": [[512]]}, "user 1 has token id 512; the vocabulary is 0 to 511"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"prefill": -1}, "prefill is -1"),
        ({"sampling": [GREEDY] * 2}, "2 sampling parameters for 1 users"),
    ],
)
def test_requests_that_cannot_be_served(arguments: dict, message: str) -> None:
    with exact_model(1) as model:
        request = {"prompts": [[1, 2]], "max_new_tokens": 10} | arguments
        with pytest.raises(RequestError, match=message):
            list(Generator(model, trace=False).generate(**request))
