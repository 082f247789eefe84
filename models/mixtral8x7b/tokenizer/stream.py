"""Text as its ids come."""

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

REPLACEMENT = "\ufffd"  # what bytes that are no complete character are decoded to
LONGEST = 8  # ids that are decoded together while all of them are characters
LONGEST_RUN = 16  # ids after which bytes that are no character are told before one is
BYTES = 4  # of the longest character
_NO_NAMES: Mapping[int, str] = MappingProxyType({})


class StreamDecoder:
    """Decodes ids as they come. Joined, the pieces are `decode` of all ids; none ends inside a character.

    skipped    ids that have no text
    names      the text of some of those ids, where it is wanted all the same
    """

    def __init__(
        self,
        decode: Callable[[Sequence[int]], str],
        skipped: Collection[int] = frozenset(),
        names: Mapping[int, str] = _NO_NAMES,
    ) -> None:
        self._decode, self._skipped, self._names = decode, skipped, names
        self._ids: list[int] = []  # decoded together, so that a space between pieces is not lost
        self._n_told = 0  # characters of their text that have been returned

    def push(self, token_id: int) -> str:
        """The text that is certain now: empty while a character is incomplete."""
        if token_id in self._names:
            piece = self.flush() + self._names[token_id]
            self._ids, self._n_told = [], 0
            return piece
        if token_id in self._skipped:
            return ""
        self._ids.append(token_id)
        text = self._decode(self._ids)
        if text.endswith(REPLACEMENT):
            return "" if len(self._ids) % LONGEST_RUN else self._tell_run(text)
        piece = self._tell(text)
        if len(self._ids) > LONGEST:
            self._go_on_from(len(self._ids))
        return piece

    def flush(self) -> str:
        """What is left when no more ids come, half a character shown as the replacement character."""
        return self._tell(self._decode(self._ids))

    def _tell_run(self, text: str) -> str:
        """Bytes that are no characters, but for those that may begin one, if they can be cut between two characters."""
        for cut in range(len(self._ids) - BYTES, len(self._ids) - 2 * BYTES, -1):
            certain, last = self._decode(self._ids[:cut]), self._decode(self._ids[cut - 1 : cut])
            if certain + self._decode(self._ids[cut - 1 :])[len(last) :] == text:
                piece = self._tell(certain)
                self._go_on_from(cut)
                return piece
        return ""

    def _tell(self, text: str) -> str:
        piece, self._n_told = text[self._n_told :], len(text)
        return piece

    def _go_on_from(self, place: int) -> None:
        """Of the ids before this place, all told, only the last with a text are decoded still."""
        for start in range(place - 1, 0, -1):
            if text := self._decode(self._ids[start:place]):
                self._ids, self._n_told = self._ids[start:], len(text)
                return
