"""An answer's text, as its ids come."""

from models.mixtral8x7b.tokenizer.stops import StopStrings
from models.mixtral8x7b.tokenizer.stream import StreamDecoder


class Answer:
    """Joined, the pieces are the text of all ids up to the first stop string. None ends inside a character."""

    def __init__(self, decoder: StreamDecoder, stops: StopStrings) -> None:
        self._decoder, self._stops = decoder, stops
        self._n_decoded = 0
        self.offsets: list[int] = []  # by id: characters that were whole before it, those of a stop string counted too

    @property
    def stopped(self) -> str | None:
        """The stop string at which the text has ended: no more ids are wanted."""
        return self._stops.stopped

    def push(self, token_id: int) -> str:
        """The text that is certain now."""
        self.offsets.append(self._n_decoded)
        return self._cut(self._decoder.push(token_id))

    def finish(self) -> str:
        """What is left when no more ids come, half a character shown as the replacement character."""
        return self._cut(self._decoder.flush()) + self._stops.finish()

    def _cut(self, text: str) -> str:
        self._n_decoded += len(text)
        return self._stops.feed(text)
