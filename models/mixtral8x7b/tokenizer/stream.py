"""Text as its ids come."""

from collections.abc import Callable, Sequence

REPLACEMENT = "\ufffd"  # what bytes that are no complete character are decoded to


class StreamDecoder:
    """Decodes ids as they come. Joined, the pieces are `decode` of all ids; none ends inside a character."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._context = 0  # ids from here on are decoded, so that a space between pieces is not lost
        self._told = 0  # ids before here have been returned as text

    def push(self, token_id: int) -> str:
        """The text that is certain now: empty while a character is incomplete."""
        self._ids.append(token_id)
        text = self._new_text()
        return "" if text.endswith(REPLACEMENT) else self._tell(text)

    def flush(self) -> str:
        """What is left when no more ids come, half a character shown as the replacement character."""
        return self._tell(self._new_text())

    def _new_text(self) -> str:
        before = self._decode(self._ids[self._context : self._told])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _tell(self, text: str) -> str:
        if text:
            self._context, self._told = self._told, len(self._ids)
        return text
