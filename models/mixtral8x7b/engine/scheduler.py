"""Who gets a row, whose prompt goes into the next pass, and whether a pass or a step is next. State in, decision out.

The bounds that follow (`n` tokens of a prompt, `m` of an answer, `B` most rows of a pass while somebody decodes):

- Decode waits for one pass of B rows at a time, then has steps for as long as the pass took, at least one. While
  others wait without a row, prompts that would not fill the smallest pass gather, for at most GATHER_STEPS steps.
- A request that waits is passed by at most MOST_PASSED that came later.
- A request in a row is first in a pass at least every `most_passes_between_turns()` passes, and then has the whole pass
  or more than half of what is left of its prompt: with most_turns(n, B) turns the prompt is prefilled.
- So a request that is the oldest in a row has left it after at most
      T = most_turns(n + m, B) * most_passes_between_turns() * (2 * pass + GATHER_STEPS * step) + m * (pass + step)
  seconds, of the longest pass and step: nobody takes its blocks. While the oldest of all waits, rows are taken at most
  MOST_PASSED times and left at most ROWS + MOST_PASSED times, and one of the two happens in every T. So a request with
  k older ones leaves after at most (k + 1) * most_tenures() * T, T of the longest; with blocks for all it is far less.
"""

from collections.abc import Collection, Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from models.mixtral8x7b.engine.model import ROWS
from models.mixtral8x7b.packing import ONE_PASS, SMALLEST_PASS

MOST_PASSED = 16  # requests that came later may have a row before one for which there are too few blocks
GATHER_STEPS = (
    16  # even the smallest pass takes as long as some steps: it should start several requests, where many wait
)
PATIENCE = 4  # passes in which shorter prompts may be before a longer one


class Waiting(NamedTuple):
    """A request without a row: the available blocks that it would take, how many have passed it, the name of the first
    part of its prompt that is not in the cache and could be, and whether its answer may need more blocks."""

    blocks: int
    passed: int
    lacks: bytes | None = None
    grows: bool = True


class Prefilling(NamedTuple):
    """A request in a row whose prompt is not done: tokens left, and passes since it was first in one."""

    rest: int
    passes: int


class Move(Enum):
    PASS, STEP, WAIT = "pass", "step", "wait"


def admitted(
    waiting: Iterable[Waiting], free_rows: int, blocks: int, growing_rows: int, being_filled: Collection[bytes] = ()
) -> list[int]:
    """Which of those that wait, oldest first, get a row now.

    Each leaves a block for every other row that may still grow, so that none throws out one that has just come. One
    that lacks what another row computes just now finds it there in the next pass, so it had better wait. One that does
    not fit or had better wait is passed by later ones, until it has been passed MOST_PASSED times.
    """
    filled = set(being_filled)
    found: list[int] = []
    may_pass = MOST_PASSED  # as many as the most often passed of those that do not fit lets
    for index, one in enumerate(waiting):
        if len(found) == free_rows or may_pass <= 0:
            break
        had_better_wait = one.lacks in filled and one.passed < MOST_PASSED
        if not had_better_wait and one.blocks + growing_rows <= blocks:
            may_pass -= len(found) < index
            blocks -= one.blocks
            growing_rows += one.grows
            found.append(index)
            if one.lacks is not None:
                filled.add(one.lacks)
        else:
            may_pass = min(may_pass, MOST_PASSED - one.passed)
    return found


def by_turn(prefilling: Sequence[Prefilling]) -> list[int]:
    """In which order they have rows of the next pass: who has waited long, longest first; then what is short first."""

    def precedence(index: int) -> tuple[int, int]:
        one = prefilling[index]
        return (-one.passes if one.passes >= PATIENCE else 0), one.rest

    return sorted(range(len(prefilling)), key=precedence)


def next_move(rows: int, waiting: int, decodes: bool, owed_s: float, steps: int) -> Move:
    """rows: of a pass, that the prompts of requests in a row still need. waiting: requests without a row. owed_s: of
    steps that decode is still owed for the passes that it waited for. steps: since the last pass."""
    if not decodes:
        return Move.PASS if rows else Move.WAIT
    gathers = waiting > 0 and rows < SMALLEST_PASS and steps < GATHER_STEPS
    return Move.PASS if rows and owed_s <= 0 and not gathers else Move.STEP


def most_passes_between_turns() -> int:
    """PATIENCE, then everybody else who waits as long, each once."""
    return PATIENCE + ROWS


def most_tenures() -> int:
    """Times that others come or go while the oldest of all waits, and its own."""
    return 2 * MOST_PASSED + ROWS + 1


def most_turns(n_tokens: int, largest_pass: int) -> int:
    """Turns that prefill a prompt: whole passes, then halves while a pass that is half empty would be too dear."""
    return n_tokens // largest_pass + 1 + max(0, (largest_pass // ONE_PASS).bit_length() - 1)
