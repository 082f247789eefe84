"""Where a text stops: at the first of some strings, however the text comes in pieces."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from models.mixtral8x7b.tokenizer.errors import StopError, shown


class StopStrings:
    """A text is cut before the stop string that begins first; of those that begin at one place the longest is named.

    What could be the beginning of a stop string is held back until it is none. A piece costs what its characters cost,
    whatever the stop strings are. Raises StopError for one that is empty or no text.
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._automaton = _Automaton(_checked(strings))
        self._state = 0
        self._held, self._n_told, self._n_read = "", 0, 0
        self._found: tuple[int, int] | None = None  # where one begins, and less its length
        self.stopped: str | None = None  # the stop string at which the text has ended

    def feed(self, piece: str) -> str:
        """The text that is certain now. Behind a stop string there is none."""
        if self.stopped is not None:
            return ""
        self._held += piece
        for character in piece:
            self._n_read += 1
            self._state = self._automaton.next(self._state, character)
            if length := self._automaton.ends[self._state]:
                match = (self._n_read - length, -length)
                self._found = min(self._found or match, match)
        undecided = self._n_read - self._automaton.begun[self._state]
        if self._found and self._found[0] <= undecided:
            return self._stop(*self._found)
        return self._tell(undecided)

    def finish(self) -> str:
        """What was held back, when no more comes."""
        if self._found and self.stopped is None:
            return self._stop(*self._found)
        return self._tell(self._n_read)

    def _stop(self, start: int, less_length: int) -> str:
        piece = self._tell(start)
        self.stopped = self._held[:-less_length]
        self._held, self._n_read = "", start
        return piece

    def _tell(self, end: int) -> str:
        n = end - self._n_told
        piece, self._held, self._n_told = self._held[:n], self._held[n:], end
        return piece


class _Automaton:
    """Aho and Corasick's: a state is the longest beginning of a string that the text ends with; 0 is none.

    ends     by state: the length of the longest string that ends here, 0 if none does
    begun    by state: the length of the longest beginning of a string, which is not all of it, that ends here
    """

    def __init__(self, strings: Iterable[str]) -> None:
        self._after: list[dict[str, int]] = [{}]
        self._shorter = [0]  # the longest other beginning that ends here
        self.ends, self.begun = [0], [0]
        for string in strings:
            self._add(string)
        self._link()

    def next(self, state: int, character: str) -> int:
        while state and character not in self._after[state]:
            state = self._shorter[state]
        return self._after[state].get(character, 0)

    def _add(self, string: str) -> None:
        state = 0
        for depth, character in enumerate(string, start=1):
            self.begun[state] = depth - 1
            if character not in self._after[state]:
                self._after[state][character] = len(self._after)
                self._after.append({})
                for values in (self._shorter, self.ends, self.begun):
                    values.append(0)
            state = self._after[state][character]
        self.ends[state] = len(string)

    def _link(self) -> None:
        waiting = deque(self._after[0].values())
        while waiting:
            state = waiting.popleft()
            shorter = self._shorter[state]
            self.ends[state] = self.ends[state] or self.ends[shorter]
            if not self._after[state]:
                self.begun[state] = self.begun[shorter]
            for character, longer in self._after[state].items():
                self._shorter[longer] = self.next(shorter, character)
                waiting.append(longer)


def _checked(strings: Any) -> list[str]:
    if isinstance(strings, (str, bytes, Mapping)) or not isinstance(strings, Iterable):
        raise StopError(f"the stop strings are {shown(strings)}; expected a list of texts")
    listed = list(strings)
    for string in listed:
        if not isinstance(string, str) or not string:
            raise StopError(f"a stop string is {shown(string)}; expected a text of at least one character")
    return listed
