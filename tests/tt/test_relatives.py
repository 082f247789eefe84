"""Mixtral's relatives equal the reference with rounding off, on every number of chips that they divide over.

The others are refused with the numbers of chips that would do. .venv/bin/python -m pytest tests/tt/test_relatives.py
"""

import re

import pytest

from models.mixtral8x7b.config import ConfigError, MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt import layouts
from models.mixtral8x7b.tt.mesh import MESH_SIZES, check_split
from tests.tt.cases import DEVICES, assert_equal, exact_mesh, random_ids, reference, sliceable_config
from tests.tt.prefill_cases import build

BLOCKS = [1, 0]
EVERYWHERE = "1, 2, 4 or 8"
# what differs from 8 experts and 16 heads over 8 KV heads, and the numbers of chips that it divides over
RELATIVES: dict[str, tuple[dict, str]] = {
    **{f"{n} experts": ({"moe": MoeConfig(n, 2)}, chips) for n, chips in ((2, "1 or 2"), (3, "1"), (4, "1, 2 or 4"))},
    **{f"{n} experts": ({"moe": MoeConfig(n, 2)}, chips) for n, chips in ((6, "1 or 2"), (16, EVERYWHERE))},
    **{f"top {n}": ({"moe": MoeConfig(8, n)}, EVERYWHERE) for n in (1, 3, 4, 8)},
    "heads wider than dim / heads": ({"head_dim": 64}, EVERYWHERE),
    "heads of 96": ({"head_dim": 96}, EVERYWHERE),
    "the widest heads": ({"head_dim": 256}, EVERYWHERE),
    "a norm with its weight in tiles": ({"dim": 4608, "n_heads": 8}, EVERYWHERE),
    "a head of each": ({"n_heads": 8}, EVERYWHERE),
    "as many KV heads as heads": ({"n_kv_heads": 16}, EVERYWHERE),
    "6 heads over 1 on each of 8 chips": ({"n_heads": 48}, "2, 4 or 8"),
    "one KV head": ({"n_kv_heads": 1}, "1"),
    "4 x 360M": (
        {"dim": 192, "n_heads": 15, "n_kv_heads": 5, "head_dim": 64, "vocab_size": 1000, "moe": MoeConfig(4, 2)},
        "1",
    ),
    **{f"dim {dim}": ({"dim": dim}, chips) for dim, chips in ((288, "1"), (320, "1 or 2"), (384, "1, 2 or 4"))},
    "hidden width of no whole tiles": ({"hidden_dim": 100}, EVERYWHERE),
    "hidden width that no cores share": ({"hidden_dim": 67 * 32}, EVERYWHERE),
    **{
        f"{vocabulary} tokens": ({"vocab_size": vocabulary}, EVERYWHERE)
        for vocabulary in (64, 320, 999, 1152, 32002, 32128, 57000)
    },
}


def numbers(chips: str) -> list[int]:
    return [int(n) for n in re.findall(r"\d", chips)]


CASES = [
    pytest.param(changes, n, id=f"{name}, {n} chips")
    for name, (changes, chips) in RELATIVES.items()
    for n in numbers(chips)
]


def relative(changes: dict) -> MixtralConfig:
    return sliceable_config(n_layers=1, **changes)


@pytest.mark.parametrize("n_devices", DEVICES)
def test_a_head_that_is_made_in_pieces(n_devices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a vocabulary of 57000 on one chip, with smaller numbers: of 1000 columns each chip makes 64 at a time."""
    monkeypatch.setattr(layouts, "WIDEST_HEAD_PIECE", 64)
    assert layouts.vocabulary_pieces(1000, 8) == (2, 64)
    test_a_relative_equals_the_reference({"vocab_size": 1000}, n_devices)


@pytest.mark.parametrize(("changes", "n_devices"), CASES)
def test_a_relative_equals_the_reference(changes: dict, n_devices: int) -> None:
    """Prefill of 70 tokens and two steps on from it; the token that is sampled is the reference's too."""
    config = relative(changes)
    ids = random_ids(config, 1, 72)
    expected = reference(config)(ids)[0]
    tokens = ids[0].tolist()
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, 1, 128, config=config)
        assert_equal(model.read_logits(model.prefill([Prompt(0, tokens[:70], BLOCKS)]))[0], expected[69])
        model.state.set_blocks([BLOCKS])
        for position in (70, 71):
            model.state.set_rows([tokens[position]] + [0] * 31, [position] + [-1] * 31)
            assert_equal(model.read_logits(model.decode_logits())[0], expected[position])
        model.state.set_rows([tokens[71]] + [0] * 31, [71] + [-1] * 31)
        model.step()
        assert model.state.read_tokens()[0] == expected[71].argmax()


@pytest.mark.parametrize("name", RELATIVES)
def test_the_chips_that_a_relative_divides_over(name: str) -> None:
    changes, chips = RELATIVES[name]
    for n in MESH_SIZES:
        if n in numbers(chips):
            check_split(relative(changes), n)
        else:
            with pytest.raises(ConfigError, match=f"; use --chips {chips} "):
                check_split(relative(changes), n)


@pytest.mark.parametrize(
    ("changes", "n_devices", "message"),
    [
        (
            {"moe": MoeConfig(4, 2)},
            8,
            "moe.num_experts is 4, which does not divide over 8 chips; use --chips 1, 2 or 4 "
            r"\(of a T3000 the real ttnn opens all 8 chips, or 1\)$",
        ),
        ({"moe": MoeConfig(3, 2)}, 2, "moe.num_experts is 3, which does not divide over 2 chips; use --chips 1 "),
        ({"n_kv_heads": 4}, 8, "n_kv_heads is 4, which does not divide over 8 chips; use --chips 1, 2 or 4 "),
        ({"dim": 320}, 4, "dim is 320, which does not divide over 4 chips in columns of 32; use --chips 1 or 2 "),
        ({"dim": 200}, 1, "dim is 200; ttnn needs a multiple of 32; this model runs on no number of chips"),
        ({"head_dim": 16}, 8, "head_dim is 16; ttnn needs a multiple of 32; this model runs on no number of chips"),
        ({"head_dim": 288}, 8, "head_dim is 288; ttnn turns heads of at most 256; this model runs on no"),
        ({"n_heads": 48}, 1, "n_heads is 48 and n_kv_heads 8, too many over 1 chips: .*; use --chips 2, 4 or 8 "),
        ({"n_heads": 32, "n_kv_heads": 32}, 1, "n_heads is 32 and n_kv_heads 32, too many over 1 chips"),
        ({"n_heads": 48, "n_kv_heads": 3}, 1, "n_heads is 48 and n_kv_heads 3, too .*; this model runs on no number"),
    ],
    ids=str,
)
def test_what_cannot_be_split_is_refused_with_what_to_do(changes: dict, n_devices: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_split(sliceable_config(**changes), n_devices)


@pytest.mark.parametrize("n_devices", DEVICES)
def test_the_model_refuses_before_it_loads(n_devices: int) -> None:
    with exact_mesh(n_devices) as mesh, pytest.raises(ConfigError, match="runs on no number of chips"):
        build(mesh, config=sliceable_config(head_dim=16))
