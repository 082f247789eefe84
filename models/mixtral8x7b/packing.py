"""Which rows of which prefill pass each prompt gets. Plain Python: rows are numbers, what is computed is the chips'.

    pass of 1024 rows    | prompt 3, positions 0..447 | prompt 0, 128..511 | prompt 7, 0..63 | padding |

A pass holds any prompts side by side, each at a multiple of 64 rows, which is a KV block. There are few sizes of
passes, so few programs; a prompt that does not fit into what is left of one is cut, and goes on in the next.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.paging import KV_BLOCK, Prompt

SMALLEST_PASS, LARGEST_PASS = 256, 16384  # rows; the sizes are the powers of two in between
MOST_PIECES = 32  # in a pass: the window ends that attention is told have a fixed number
START_UNIT = 128  # a piece starts at a multiple of it: keys that attention takes at a time from the cache
ONE_PASS = 1024  # rows that go into one pass, however much of it stays empty
MOST_PADDING = 1.25  # computed rows for each that is wanted, above ONE_PASS in all


@dataclass(frozen=True)
class Piece:
    """Positions start .. end - 1 of a prompt, at the rows from `at` on."""

    prompt: Prompt
    start: int
    end: int
    at: int

    @property
    def rows(self) -> int:
        """With the padding of its last block."""
        return _rounded(self.end - self.start)

    @property
    def ends_prompt(self) -> bool:
        return self.end == len(self.prompt.ids)


@dataclass(frozen=True)
class Pass:
    """One call of the prefill program: its size in rows, padding and all, and what stands in it, in order of rows."""

    size: int
    pieces: tuple[Piece, ...]


def pass_sizes(largest: int = LARGEST_PASS) -> list[int]:
    sizes = (1 << n for n in range(SMALLEST_PASS.bit_length() - 1, LARGEST_PASS.bit_length()))
    return [size for size in sizes if size <= largest]


def attended_rows(rows: int) -> int:
    """The rows that attention takes of a piece that goes on from the cache: a power of two, so few programs."""
    return max(START_UNIT, 1 << (rows - 1).bit_length())


def pack(prompts: Sequence[Prompt], largest: int = LARGEST_PASS) -> list[Pass]:
    """Passes for all the prompts, in the order in which they must run; none larger than `largest`.

    Above ONE_PASS rows in all, fewer than MOST_PADDING rows are computed for each row of the prompts, rounded up to
    blocks, unless `largest` is below ONE_PASS; where prompts go on from the cache one of the smallest passes may come
    to that, as attention must not read behind a pass. Raises RequestError for a prompt that starts between multiples of
    START_UNIT, or has nothing to compute.
    """
    for prompt in prompts:
        if prompt.start % START_UNIT or not 0 <= prompt.start < len(prompt.ids):
            raise RequestError(
                f"the prompt of row {prompt.row} goes on at {prompt.start} of {len(prompt.ids)} tokens; expected a "
                f"multiple of {START_UNIT} before its end"
            )
    left = {index: prompt.start for index, prompt in enumerate(prompts)}  # from which position on

    def wanted() -> int:
        return sum(_rounded(len(prompts[index].ids) - start) for index, start in left.items())

    passes: list[Pass] = []
    allowed = math.inf if wanted() <= ONE_PASS else MOST_PADDING * wanted()  # rows of all passes together
    while left:
        size = _size(wanted(), allowed - sum(one.size for one in passes))
        passes.append(_filled(min(size, largest), prompts, left))
    return passes


def next_pass(left: Sequence[tuple[Prompt, int]], largest: int = LARGEST_PASS) -> Pass:
    """One pass of at most `largest` rows, out of prompts and the position from which each is left, by precedence.

    A position is a multiple of START_UNIT, `largest` a size of a pass. The first prompt has all of it, or as many rows
    as the pass has: `largest`, or more than half of what is left of the prompt. Each further one takes what it can of
    the rows that remain, down to nothing. Padding is as in `pack`: above ONE_PASS rows in all, what would stay empty in
    a larger pass makes a smaller one that is full.
    """
    wanted = sum(_rounded(len(prompt.ids) - start) for prompt, start in left)
    size = min(largest, _size(wanted, math.inf if wanted <= ONE_PASS else MOST_PADDING * wanted))
    taken: list[tuple[Prompt, int, int]] = []
    attended: list[tuple[int, int]] = []  # of pieces that go on from the cache: rows that attention takes, own rows
    room = size
    for prompt, start in left:
        if room < KV_BLOCK or len(taken) == MOST_PIECES:
            break
        rest = len(prompt.ids) - start
        for n_tokens in _cuts(rest, room, start > 0):
            rows = _rounded(n_tokens)
            if start == 0 or _fit([*attended, (attended_rows(rows), rows)], size):
                taken.append((prompt, start, start + n_tokens))
                attended += [(attended_rows(rows), rows)] if start else []
                room -= rows
                break
    return Pass(size, _laid(taken))


def _cuts(rest: int, room: int, goes_on: bool) -> Iterator[int]:
    """How many tokens of a prompt's rest a pass with so much room may take, most first."""
    if _rounded(rest) <= room:
        yield rest
    elif not goes_on and room >= START_UNIT:
        yield room // START_UNIT * START_UNIT
    rows = 1 << (min(room, rest).bit_length() - 1)
    while goes_on and rows >= START_UNIT:
        if rows < rest:
            yield rows
        rows //= 2


def _fit(attended: list[tuple[int, int]], size: int) -> bool:
    """Whether no attention reads behind a pass where these stand first, the one that takes most before the others."""
    at = 0
    for taken, rows in sorted(attended, reverse=True):
        if at + taken > size:
            return False
        at += rows
    return True


def _laid(taken: list[tuple[Prompt, int, int]]) -> tuple[Piece, ...]:
    """Side by side: what goes on from the cache first, in the order that _fit looked at; the rest as it comes."""

    def place(one: tuple[Prompt, int, int]) -> tuple[bool, int, int]:
        _, start, end = one
        rows = _rounded(end - start)
        return (False, -attended_rows(rows), -rows) if start else (True, 0, 0)

    pieces, at = [], 0
    for prompt, start, end in sorted(taken, key=place):
        pieces.append(Piece(prompt, start, end, at))
        at += pieces[-1].rows
    return tuple(pieces)


def _size(wanted: int, allowed: float) -> int:
    """Of the next pass, when so many rows are left: all of them if the padding is allowed, else one that is full."""
    above = max(SMALLEST_PASS, 1 << (wanted - 1).bit_length())
    below = max(SMALLEST_PASS, 1 << (wanted.bit_length() - 1))
    return above if above < allowed else below


def _filled(size: int, prompts: Sequence[Prompt], left: dict[int, int]) -> Pass:
    """Takes whole what fits, what goes on from the cache first and long before short; then cuts to fill the rest."""
    pieces: list[Piece] = []
    at = 0

    def take(index: int, rows: int) -> None:
        nonlocal at
        prompt, start = prompts[index], left[index]
        end = min(start + rows, len(prompt.ids))
        pieces.append(Piece(prompt, start, end, at))
        at += _rounded(end - start)
        left[index] = end
        if end == len(prompt.ids):
            del left[index]

    def rest(index: int) -> int:
        return _rounded(len(prompts[index].ids) - left[index])

    def most(index: int) -> int:
        """Rows that the pass can take of it now."""
        whole, room = rest(index), size - at
        if left[index] == 0:
            return whole if whole <= room else room // START_UNIT * START_UNIT
        if at + attended_rows(whole) <= size:
            return whole
        return 1 << (room.bit_length() - 1) if room >= START_UNIT else 0

    for index in sorted(left, key=lambda index: (left[index] == 0, -rest(index), prompts[index].row)):
        if len(pieces) < MOST_PIECES and most(index) == rest(index):
            take(index, rest(index))
    while left and len(pieces) < MOST_PIECES and most(index := max(left, key=lambda index: (most(index), -index))):
        take(index, most(index))
    return Pass(size, tuple(pieces))


def _rounded(n_tokens: int) -> int:
    """Up to whole KV blocks."""
    return -(-n_tokens // KV_BLOCK) * KV_BLOCK
