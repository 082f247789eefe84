"""Arguments of another kind: taken where there is no doubt, else refused in one sentence."""

from collections import OrderedDict
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
import torch

from models.mixtral8x7b.arguments import RequestError, described
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.group import Group
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.sampling import SamplingError, SamplingParams
from tests.test_generator import exact_model, greedy, prompts_of

NO_WHOLE_NUMBERS = ("1", 1.5, 2.0, True, float("nan"), Decimal(3), np.float32(1), np.bool_(True), torch.tensor(1), [1])
NO_NUMBERS = ("0.5", True, Decimal("0.5"), 1j, np.bool_(True), torch.tensor(0.5), [0.5])


@pytest.mark.parametrize("name", ["seed", "top_k"])
def test_a_sampling_parameter_that_is_no_whole_number(name: str) -> None:
    for value in NO_WHOLE_NUMBERS:
        with pytest.raises(SamplingError, match=rf"^{name} is .* \(of type \w+\); expected a whole number$"):
            SamplingParams(**{name: value})
    with pytest.raises(SamplingError, match=f"^{name} is not given; expected a whole number$"):
        SamplingParams(**{name: None})


@pytest.mark.parametrize("name", ["temperature", "top_p"])
def test_a_sampling_parameter_that_is_no_number(name: str) -> None:
    for value in NO_NUMBERS:
        with pytest.raises(SamplingError, match=rf"^{name} is .* \(of type \w+\); expected a number$"):
            SamplingParams(**{name: value})
    with pytest.raises(SamplingError, match=f"^{name} is not given; expected a number$"):
        SamplingParams(**{name: None})
    for value in (float("nan"), float("inf"), 10**400):
        with pytest.raises(SamplingError, match=f"^{name} is (nan|inf); expected "):
            SamplingParams(**{name: value})


def test_numbers_of_other_libraries_are_numbers() -> None:
    theirs = SamplingParams(np.float32(0.5), np.int64(3), Fraction(1, 4), np.uint64(2**63))
    assert theirs == SamplingParams(0.5, 3, 0.25, 2**63)
    assert [type(value) for value in vars(theirs).values()] == [float, int, float, int]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": None}, "prompts is not given; expected a list of prompts"),
        ({"prompts": "Hello"}, r"prompts is 'Hello' \(of type str\); expected a list of prompts"),
        ({"prompts": {0: [1]}}, "prompts is {0: .*; expected a list of prompts"),
        ({"prompts": 5}, r"prompts is 5 \(of type int\); expected a list of prompts"),
        ({"prompts": [1, 2]}, r"the prompt of user 1 is 1 \(of type int\); expected a list of token ids"),
        ({"prompts": [[1], None]}, "the prompt of user 2 is not given; expected a list of token ids"),
        ({"prompts": ["Hello"]}, "the prompt of user 1 is 'Hello' .*; expected token ids, which the tokenizer makes"),
        ({"prompts": [b"Hello"]}, "the prompt of user 1 is b'Hello'"),
        ({"prompts": [OrderedDict({1: 2})]}, "the prompt of user 1 is OrderedDict"),
        ({"prompts": [{1, 2}]}, "the prompt of user 1 is {1, 2}"),
        (
            {"prompts": [[1, 2.0]]},
            r"the prompt of user 1 has an id that is 2.0 \(of type float\); expected whole numbers",
        ),
        ({"prompts": [[1], [True]]}, "the prompt of user 2 has an id that is True"),
        ({"prompts": [[1, None]]}, "the prompt of user 1 has an id that is not given; expected whole numbers"),
        ({"prompts": [torch.tensor([1.0])]}, "the prompt of user 1 has an id that is 1.0"),
        ({"prompts": [torch.tensor([[1]])]}, r"the prompt of user 1 has an id that is \[1\] \(of type list\)"),
        ({"prompts": [torch.tensor(1)]}, r"the prompt of user 1 is tensor\(1\)"),
        ({"prompts": [np.array(["a"])]}, "the prompt of user 1 has an id that is 'a'"),
        ({"max_new_tokens": None}, "max_new_tokens is not given; expected a whole number"),
        ({"max_new_tokens": 2.0}, r"max_new_tokens is 2.0 \(of type float\); expected a whole number"),
        ({"max_new_tokens": "5"}, "max_new_tokens is '5'"),
        ({"prefill": 1.5}, "prefill is 1.5"),
        ({"prefill": True}, "prefill is True"),
        ({"stop_ids": None}, "stop_ids is not given; expected a list of token ids"),
        ({"stop_ids": 2}, r"stop_ids is 2 \(of type int\); expected a list of token ids"),
        ({"stop_ids": "2"}, "stop_ids is '2' .*; expected token ids"),
        ({"stop_ids": {"2"}}, "stop_ids has an id that is '2'"),
        ({"sampling": None}, "sampling is not given; expected SamplingParams, or one for each user"),
        ({"sampling": 0.5}, "sampling is 0.5"),
        ({"sampling": [0.5]}, r"a user's sampling is 0.5 \(of type float\); expected SamplingParams"),
        ({"sampling": {"temperature": 0.5}}, "sampling is {'temperature': 0.5}"),
    ],
)
def test_a_request_of_another_kind(arguments: dict, message: str) -> None:
    with exact_model(1) as model:
        request = {"prompts": [[1, 2]], "max_new_tokens": 2} | arguments
        with pytest.raises(RequestError, match=f"^{message}"):
            list(Generator(model, trace=False).generate(**request))


def test_a_request_may_fill_the_context() -> None:
    request = Group.read([[1] * 246], 10, SamplingParams(), (), None)
    request.check(most_users=1, vocab_size=2, max_context=256)
    with pytest.raises(RequestError, match="exceeds the context of 255: shorten it to 245"):
        request.check(most_users=1, vocab_size=2, max_context=255)


def test_ids_of_other_libraries_are_ids() -> None:
    prompts = prompts_of(5, 9, 3)
    theirs = [torch.tensor(prompts[0]), np.array(prompts[1], dtype=np.int16), (np.uint8(id % 256) for id in prompts[2])]
    expected = [greedy(prompt, 3) for prompt in (*prompts[:2], [id % 256 for id in prompts[2]])]
    with exact_model(1) as model:
        columns = Generator(model, trace=False).generate(iter(theirs), np.int64(3), stop_ids=[np.int64(500)])
        assert [list(user) for user in zip(*columns, strict=True)] == expected
        alike = torch.tensor(prompts[:1] * 2)
        columns = Generator(model, trace=False).generate(alike, 3, prefill=np.int32(2))
        assert [list(user) for user in zip(*columns, strict=True)] == [expected[0]] * 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, [1], [0]), "the row of a prompt is 1.0"),
        ((None, [1], [0]), "the row of a prompt is not given"),
        ((3, "Hello", [0]), "the prompt in row 3 is 'Hello'"),
        ((3, [], [0]), "the prompt in row 3 is empty"),
        ((3, [1.5], [0]), "the prompt in row 3 has an id that is 1.5"),
        ((3, [1], None), "the blocks of row 3 is not given"),
        ((3, [1], ["0"]), "the blocks of row 3 has an id that is '0'"),
    ],
)
def test_a_prompt_of_another_kind(arguments: tuple, message: str) -> None:
    with pytest.raises(RequestError, match=f"^{message}"):
        Prompt(*arguments)


def test_a_prompt_holds_plain_numbers() -> None:
    prompt = Prompt(np.int64(2), torch.tensor([1, 5]), range(3, 5))
    assert prompt == Prompt(2, [1, 5], [3, 4])


def test_a_long_value_is_cut() -> None:
    assert len(described("a\n" * 500)) < 80
