"""Laying prompts out in passes: every position once, in order, with little padding. No tensors."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.engine.scheduler import most_turns
from models.mixtral8x7b.packing import (
    MOST_PADDING,
    MOST_PIECES,
    ONE_PASS,
    SMALLEST_PASS,
    START_UNIT,
    Pass,
    attended_rows,
    next_pass,
    pack,
    pass_sizes,
)
from models.mixtral8x7b.paging import KV_BLOCK, Prompt


def of_lengths(*lengths: int | tuple[int, int]) -> list[Prompt]:
    """A prompt of each length; of (length, start), one that goes on from a start."""
    pairs = [length if isinstance(length, tuple) else (length, 0) for length in lengths]
    return [Prompt(row, range(length), [], start) for row, (length, start) in enumerate(pairs)]


def wanted_rows(prompts: list[Prompt]) -> int:
    return sum(-(-(len(prompt.ids) - prompt.start) // KV_BLOCK) * KV_BLOCK for prompt in prompts)


def check(prompts: list[Prompt], passes: list[Pass]) -> None:
    """Each prompt from its start to its end, piece by piece, with every rule that the chips do not check."""
    reached = {prompt.row: prompt.start for prompt in prompts}
    for one in passes:
        assert one.size in pass_sizes()
        assert 1 <= len(one.pieces) <= MOST_PIECES
        free_from = 0
        for piece in one.pieces:
            assert piece.at >= free_from
            assert piece.at % KV_BLOCK == 0
            assert piece.start == reached[piece.prompt.row] < piece.end
            assert piece.start % START_UNIT == 0
            if piece.start:
                assert piece.at + attended_rows(piece.rows) <= one.size, "attention would read behind the pass"
            reached[piece.prompt.row] = piece.end
            free_from = piece.at + piece.rows
        assert free_from <= one.size
    assert reached == {prompt.row: len(prompt.ids) for prompt in prompts}
    if wanted_rows(prompts) <= ONE_PASS:
        assert len(passes) <= 1 + any(prompt.start for prompt in prompts)
    else:
        allowed = MOST_PADDING * wanted_rows(prompts) + SMALLEST_PASS * any(prompt.start for prompt in prompts)
        assert sum(one.size for one in passes) < allowed


prompt_lengths = st.integers(1, 3000).flatmap(
    lambda length: st.tuples(st.just(length), st.sampled_from([0, *range(0, length, START_UNIT)]))
)


@settings(max_examples=300, deadline=None)
@given(st.lists(prompt_lengths, min_size=1, max_size=32))
@example([(129, 128), (129, 128), (513, 384), (1345, 512)])  # 1216 rows wanted, which take passes of 1024, 256 and 256
def test_any_mix_is_laid_out_by_the_rules(lengths: list[tuple[int, int]]) -> None:
    prompts = of_lengths(*lengths)
    check(prompts, pack(prompts))


@pytest.mark.parametrize("first", range(64))
def test_one_prompt_of_any_length(first: int) -> None:
    for length in range(1 + first, 40000, 64 * 67):
        check(of_lengths(length), pack(of_lengths(length)))


def test_what_belongs_together_shares_a_pass() -> None:
    assert [(one.size, len(one.pieces)) for one in pack(of_lengths(*[128] * 32))] == [(4096, 32)]
    assert [(one.size, len(one.pieces)) for one in pack(of_lengths(7, 300, 65, 1))] == [(1024, 4)]
    assert [one.size for one in pack(of_lengths(16384))] == [16384]
    assert [one.size for one in pack(of_lengths(32768))] == [16384, 16384]
    assert [one.size for one in pack(of_lengths(1), largest=256)] == [256]
    assert [one.size for one in pack(of_lengths(1000), largest=256)] == [256] * 4


@cache
def fewest_passes(wanted: int) -> int:
    """By trying all: the fewest sizes that hold so many rows with less than a quarter of padding in all."""
    reachable = {0}
    for n in range(1, 12):
        reachable = {total + size for total in reachable for size in pass_sizes()}
        if any(wanted <= total and (total < MOST_PADDING * wanted or wanted <= ONE_PASS) for total in reachable):
            return n
    raise AssertionError(wanted)


def test_no_more_passes_than_must_be() -> None:
    for wanted in range(KV_BLOCK, 8192, KV_BLOCK):
        assert len(pack(of_lengths(wanted))) == fewest_passes(wanted)


@pytest.mark.parametrize("start", [64, 200, 300, -128])
def test_a_start_that_attention_cannot_take_is_named(start: int) -> None:
    with pytest.raises(
        RequestError, match=f"the prompt of row 0 goes on at {start} of 200 tokens; expected a multiple"
    ):
        pack(of_lengths((200, start)))


def next_of(*left: tuple[int, int], largest: int = 16384) -> Pass:
    """The pass of prompts with (length, position from which it is left), by precedence."""
    return next_pass([(prompt, prompt.start) for prompt in of_lengths(*left)], largest)


sizes = st.sampled_from(pass_sizes())


@settings(max_examples=300, deadline=None)
@given(st.lists(prompt_lengths, min_size=1, max_size=40), sizes)
def test_the_next_pass_keeps_the_rules_and_serves_the_first_first(lengths: list[tuple[int, int]], largest: int) -> None:
    one = next_of(*lengths, largest=largest)
    assert one.size in pass_sizes(largest)
    assert 1 <= len(one.pieces) <= MOST_PIECES
    free_from = 0
    for piece in one.pieces:
        assert piece.at == free_from
        assert piece.start == lengths[piece.prompt.row][1] < piece.end
        assert piece.ends_prompt or piece.end % START_UNIT == 0
        if piece.start:
            assert piece.at + attended_rows(piece.rows) <= one.size, "attention would read behind the pass"
        free_from += piece.rows
    assert free_from <= one.size
    assert len({piece.prompt.row for piece in one.pieces}) == len(one.pieces)
    (first,) = (piece for piece in one.pieces if piece.prompt.row == 0)
    rest = lengths[0][0] - lengths[0][1]
    taken = first.end - first.start
    assert taken in (rest, one.size)
    assert taken == min(rest, largest) or 2 * taken > rest
    wanted = wanted_rows(of_lengths(*lengths))
    assert one.size <= max(ONE_PASS, MOST_PADDING * wanted)
    if wanted <= min(ONE_PASS, largest) and not any(start for _, start in lengths) and len(lengths) <= MOST_PIECES:
        assert all(piece.ends_prompt for piece in one.pieces)
        assert len(one.pieces) == len(lengths)


def test_who_comes_next_takes_what_room_is_left() -> None:
    def taken(one: Pass) -> list[tuple[int, int, int, int]]:
        return [(piece.prompt.row, piece.start, piece.end, piece.at) for piece in one.pieces]

    assert taken(next_of((70, 0), (4000, 0), largest=512)) == [(0, 0, 70, 0), (1, 0, 384, 128)]
    assert taken(next_of((4000, 0), (70, 0), largest=512)) == [(0, 0, 512, 0)]
    assert taken(next_of((64, 0), (64, 0), (4000, 0), (1, 0), largest=256)) == [
        (0, 0, 64, 0),
        (1, 0, 64, 64),
        (2, 0, 128, 128),
    ]
    # what goes on from the cache stands first, and takes a power of two of rows where it is cut
    assert taken(next_of((100, 0), (4000, 1024), (64, 0), largest=1024)) == [
        (1, 1024, 1536, 0),
        (0, 0, 100, 512),
        (2, 0, 64, 640),
    ]
    assert [next_of((n, 0)).size for n in (1, 256, 257, 1100, 1639, 20000)] == [256, 256, 512, 1024, 2048, 16384]


def test_a_prompt_alone_is_done_after_its_turns() -> None:
    for largest in pass_sizes():
        for length in range(1, 9000, 61):
            (prompt,), start, turns = of_lengths(length), 0, 0
            while start < length:
                (piece,) = next_pass([(prompt, start)], largest).pieces
                start, turns = piece.end, turns + 1
            assert turns <= most_turns(length, largest)
