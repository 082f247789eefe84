"""Who is next: the bounds that scheduler.py states, against arrivals that are chosen to break them."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.engine.scheduler import (
    GATHER_STEPS,
    MOST_PASSED,
    PATIENCE,
    Move,
    Prefilling,
    Waiting,
    admitted,
    by_turn,
    most_passes_between_turns,
    most_turns,
    next_move,
)
from models.mixtral8x7b.packing import next_pass
from models.mixtral8x7b.paging import Prompt


def test_rows_go_to_the_oldest_as_long_as_there_are_rows() -> None:
    waiting = [Waiting(1, 0)] * 5
    assert admitted(waiting, free_rows=3, blocks=1000, growing_rows=29) == [0, 1, 2]
    assert admitted(waiting, free_rows=0, blocks=1000, growing_rows=32) == []
    assert admitted(waiting, free_rows=32, blocks=1000, growing_rows=0) == [0, 1, 2, 3, 4]
    assert admitted([], free_rows=3, blocks=1000, growing_rows=0) == []


def test_a_block_is_left_for_every_other_row_that_may_grow() -> None:
    whole = Waiting(5, 0, grows=False)
    assert admitted([whole, whole], free_rows=32, blocks=10, growing_rows=0) == [0, 1]
    assert admitted([whole, whole], free_rows=32, blocks=10, growing_rows=1) == [0]
    assert admitted([Waiting(10, 0)], free_rows=32, blocks=10, growing_rows=0) == [0]  # alone it may take all
    assert admitted([Waiting(10, 0)], free_rows=31, blocks=10, growing_rows=1) == []
    assert admitted([Waiting(10, 0)], free_rows=31, blocks=11, growing_rows=1) == [0]
    assert admitted([Waiting(5, 0), Waiting(5, 0)], free_rows=32, blocks=10, growing_rows=0) == [0]
    assert admitted([Waiting(5, 0), Waiting(5, 0)], free_rows=32, blocks=11, growing_rows=0) == [0, 1]


def test_one_that_does_not_fit_is_passed_so_often_and_no_more() -> None:
    crowd = [Waiting(1, 0)] * 60
    assert admitted([Waiting(999, 0), *crowd], 32, 500, 0) == list(range(1, 1 + MOST_PASSED))
    assert admitted([Waiting(999, MOST_PASSED - 2), *crowd], 32, 500, 0) == [1, 2]
    assert admitted([Waiting(999, MOST_PASSED), *crowd], 32, 500, 0) == []
    # of two, the one that has been passed more often decides
    assert admitted([Waiting(999, 0), Waiting(1, 0), Waiting(999, MOST_PASSED - 1), *crowd], 32, 500, 0) == [1, 3]
    # one that fits itself holds up nobody
    assert admitted([Waiting(1, MOST_PASSED), *crowd], 3, 500, 0) == [0, 1, 2]


def test_who_lacks_what_another_computes_had_better_wait() -> None:
    same, other, free = Waiting(1, 0, b"same"), Waiting(1, 0, b"other"), Waiting(1, 0)
    assert admitted([same, same, other, same, free, free], 32, 500, 0) == [0, 2, 4, 5]
    assert admitted([same, other], 32, 500, 1, {b"same"}) == [1]
    tired = Waiting(1, MOST_PASSED, b"same")
    assert admitted([tired, tired, other], 32, 500, 1, {b"same"}) == [0, 1, 2]


def test_only_as_many_are_looked_at_as_must_be() -> None:
    looked = []

    def waiting(n: int) -> Waiting:
        looked.append(n)
        return Waiting(1, 0)

    assert admitted((waiting(n) for n in range(100)), 2, 500, 0) == [0, 1]
    assert len(looked) <= 3


def test_the_short_go_first_until_a_long_one_has_waited() -> None:
    assert by_turn([Prefilling(9000, 0), Prefilling(50, 0), Prefilling(700, 3)]) == [1, 2, 0]
    assert by_turn([Prefilling(50, 0), Prefilling(9000, PATIENCE)]) == [1, 0]
    assert by_turn([Prefilling(50, PATIENCE), Prefilling(9000, PATIENCE + 1)]) == [1, 0]


def test_decode_has_what_it_is_owed() -> None:
    assert next_move(64, waiting=0, decodes=True, owed_s=0.1, steps=9) is Move.STEP
    assert next_move(64, waiting=0, decodes=True, owed_s=0, steps=9) is Move.PASS
    assert next_move(64, waiting=0, decodes=False, owed_s=0.1, steps=9) is Move.PASS
    assert next_move(0, waiting=0, decodes=True, owed_s=0, steps=9) is Move.STEP
    assert next_move(0, waiting=0, decodes=False, owed_s=0.1, steps=9) is Move.WAIT


def test_where_more_wait_than_there_are_rows_short_prompts_gather_for_a_while() -> None:
    assert next_move(192, waiting=1, decodes=True, owed_s=0, steps=0) is Move.STEP
    assert next_move(192, waiting=1, decodes=True, owed_s=0, steps=GATHER_STEPS - 1) is Move.STEP
    assert next_move(192, waiting=1, decodes=True, owed_s=0, steps=GATHER_STEPS) is Move.PASS
    assert next_move(256, waiting=1, decodes=True, owed_s=0, steps=0) is Move.PASS
    assert next_move(192, waiting=0, decodes=True, owed_s=0, steps=0) is Move.PASS
    assert next_move(192, waiting=1, decodes=False, owed_s=0, steps=0) is Move.PASS


def passes_until_done(n_tokens: int, largest: int, rival: Callable[[int], int]) -> int:
    """Passes of one prompt among 31 rows whose prompts are followed by new ones at once; rival: the length of each."""
    born = iter(range(10**6))
    prompts = {0: Prompt(0, range(n_tokens), [])} | {row: _rival(row, rival(next(born))) for row in range(1, ROWS)}
    reached, passes = dict.fromkeys(prompts, 0), dict.fromkeys(prompts, 0)
    for done_after in range(1, 10**4):
        rows = list(prompts)
        order = [
            rows[n] for n in by_turn([Prefilling(len(prompts[row].ids) - reached[row], passes[row]) for row in rows])
        ]
        of = next_pass([(prompts[row], reached[row]) for row in order], largest)
        passes = {row: n + 1 for row, n in passes.items()} | {order[0]: 0}
        for piece in of.pieces:
            row = piece.prompt.row
            reached[row] = piece.end
            if piece.ends_prompt:
                if row == 0:
                    return done_after
                prompts[row], reached[row], passes[row] = _rival(row, rival(next(born))), 0, 0
    raise AssertionError("never done")


def _rival(row: int, length: int) -> Prompt:
    return Prompt(row, range(length), [])


@pytest.mark.parametrize("length", [1, 64, 128, 2048, 5000])
@pytest.mark.parametrize("largest", [256, 2048])
def test_a_long_prompt_among_endless_rivals(length: int, largest: int) -> None:
    n_tokens = 4000
    bound = most_turns(n_tokens, largest) * most_passes_between_turns()
    assert passes_until_done(n_tokens, largest, lambda born: length) <= bound


@settings(max_examples=25, deadline=None)
@given(
    n_tokens=st.integers(1, 2500),
    largest=st.sampled_from([256, 512, 2048]),
    lengths=st.lists(st.one_of(st.integers(1, 130), st.integers(1, 9000)), min_size=1, max_size=50),
)
def test_any_rivals(n_tokens: int, largest: int, lengths: list[int]) -> None:
    bound = most_turns(n_tokens, largest) * most_passes_between_turns()
    assert passes_until_done(n_tokens, largest, lambda born: lengths[born % len(lengths)]) <= bound


def test_a_short_prompt_does_not_wait_behind_long_ones() -> None:
    assert passes_until_done(60, 2048, lambda born: 30000) == 1
