"""The whole model with rounding off equals the reference, however the work is laid out.

.venv/bin/python -m pytest tests/tt/test_model.py
"""

import pytest
import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.config import ConfigError, MoeConfig, Routing
from models.mixtral8x7b.paging import Prompt
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, random_ids, reference, sliceable_config
from tests.tt.prefill_cases import LENGTHS, PASSES, build, check_prefills, scattered_blocks


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("users", [1, 5, 32])
def test_decode_equals_reference(n_devices: int, users: int) -> None:
    ids = random_ids(sliceable_config(), users, 10)
    expected = reference(sliceable_config())(ids)
    unused = 32 - users
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, users, 128)
        model.state.set_blocks(scattered_blocks(users, 128))
        for position in range(10):
            model.state.set_rows(ids[:, position].tolist() + [0] * unused, [position] * users + [-1] * unused)
            assert_equal(model.read_logits(model.decode_logits())[:users], expected[:, position])


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("users", [1, 5])
@pytest.mark.parametrize("max_pass_tokens", PASSES.values(), ids=PASSES)
def test_prefill_equals_reference_and_decode_goes_on_from_it(n_devices: int, users: int, max_pass_tokens: int) -> None:
    check_prefills(n_devices, max_pass_tokens, [[length] * users for length in LENGTHS])


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("max_pass_tokens", PASSES.values(), ids=PASSES)
def test_32_users_of_all_lengths_prefilled_together_equal_reference(n_devices: int, max_pass_tokens: int) -> None:
    """32 users of one length, for every length: tests/long."""
    check_prefills(n_devices, max_pass_tokens, [[LENGTHS[user % len(LENGTHS)] for user in range(32)]])


@pytest.mark.parametrize("routing", list(Routing))
def test_both_routing_modes_equal_reference(routing: Routing) -> None:
    config = sliceable_config(moe=MoeConfig(8, 2, routing))
    ids = random_ids(config, 1, 9)
    expected = reference(config)(ids)[0]
    with exact_mesh(8) as mesh:
        model = build(mesh, 1, 128, config=config)
        assert_equal(model.read_logits(model.prefill([Prompt(0, ids[0].tolist(), [0])]))[0], expected[-1])
        model.state.set_blocks([[1]])
        for position in range(9):
            model.state.set_rows([int(ids[0, position])] + [0] * 31, [position] + [-1] * 31)
            assert_equal(model.read_logits(model.decode_logits())[0], expected[position])


def test_the_cache_of_a_prefill_is_that_of_a_decode() -> None:
    """Token by token or in one pass, the same keys and values stand in the same blocks."""
    ids = random_ids(sliceable_config(), 1, 70)[0].tolist()
    pools = []
    with exact_mesh(8) as mesh:
        for prefill in (True, False):
            model = build(mesh, 1, 128)
            model.state.set_blocks([[1, 0]])
            if prefill:
                model.read_logits(model.prefill([Prompt(0, ids, [1, 0])]))
            else:
                for position, token in enumerate(ids):
                    model.state.set_rows([token] + [0] * 31, [position] + [-1] * 31)
                    model.read_logits(model.decode_logits())
            pools.append(
                [
                    torch.stack([ttnn.to_torch(part) for part in ttnn.get_device_tensors(pool)])
                    for pool in model.cache.keys + model.cache.values
                ]
            )
    for ours, theirs in zip(*pools, strict=True):
        for block, used in ((1, 64), (0, 6)):
            assert_equal(ours[:, block, :, :used], theirs[:, block, :, :used])


def test_a_context_beyond_the_model_is_refused() -> None:
    with (
        exact_mesh(1) as mesh,
        pytest.raises(ConfigError, match="5000 tokens is too long; .* made for 4096"),
    ):
        build(mesh, 1, 5000)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "there is no prompt to prefill; expected at least one"),
        ([Prompt(-1, [1], [0])], r"prompts have the rows \[-1\]; expected different ones from 0 to 31"),
        ([Prompt(0, [1], [0]), Prompt(32, [1], [1])], r"prompts have the rows \[0, 32\]"),
        ([Prompt(3, [1], [0]), Prompt(3, [1], [1])], r"prompts have the rows \[3, 3\]"),
        ([Prompt(0, [1] * 129, [0, 1, 2])], "the prompt in row 0 has 129 tokens; expected at most the context of 128"),
        ([Prompt(0, [1] * 65, [0])], "the prompt in row 0 has 1 blocks; its 65 tokens need 2"),
        ([Prompt(5, [1, 512], [0])], "the prompt in row 5 has token id 512; the vocabulary is 0 to 511"),
        ([Prompt(5, [-1], [0])], "the prompt in row 5 has token id -1"),
    ],
)
def test_prompts_that_cannot_be_prefilled_are_refused(prompts: list[Prompt], message: str) -> None:
    with exact_mesh(1) as mesh, pytest.raises(RequestError, match=f"^{message}"):
        build(mesh, 2, 128).prefill(prompts)


def test_more_ids_than_the_vocabulary_cannot_be_drawn() -> None:
    for n_tokens in (0, 513):
        with exact_mesh(1) as mesh, pytest.raises(ConfigError, match=f"{n_tokens} ids may be drawn; expected 1 to 512"):
            build(mesh, n_tokens=n_tokens)


@pytest.mark.parametrize("max_pass_tokens", [256, 512, 1024])
def test_a_context_that_ends_inside_a_pass(max_pass_tokens: int) -> None:
    """The model reaches 320 positions, and the rotary tables no further: padding needs none."""
    config = sliceable_config(max_seq_len=320)
    ids = random_ids(config, 1, 320)
    with exact_mesh(1) as mesh:
        model = build(mesh, 1, 320, config=config, max_pass_tokens=max_pass_tokens)
        logits = model.read_logits(model.prefill([Prompt(0, ids[0].tolist(), range(5))]))[0]
    assert_equal(logits, reference(config)(ids)[0, -1])
