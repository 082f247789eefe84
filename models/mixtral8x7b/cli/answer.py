"""An answer's text on its way from the engine, and what it took."""

from collections.abc import Iterator, Sequence

from models.mixtral8x7b.cli.served import Served
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import STOP, Finish
from models.mixtral8x7b.sampling import SamplingParams

DRAM_GB_S = 288  # of a Wormhole chip, by its data sheet: 6 GDDR6 channels at 12 GT/s


class TextStream:
    """Iterate over it, once: it gives the text as it is certain. Then `finish` tells how it ended.

    stops    strings at which the text ends, which are not part of it
    """

    def __init__(
        self,
        served: Served,
        ids: Sequence[int],
        max_new_tokens: int,
        sampling: SamplingParams,
        stops: Sequence[str] = (),
        goes_on: bool = False,
    ) -> None:
        """goes_on: it continues the prompt's text, and has the space that it begins with.

        Raises StopError and what `Engine.submit` raises."""
        self._answer = served.tokenizer.answer(stops, after=ids if goes_on else ())
        self._stream = served.engine.submit(Request(ids, max_new_tokens, sampling, served.tokenizer.stop_ids))
        self.ids: list[int] = []
        self.text = ""

    def __iter__(self) -> Iterator[str]:
        for token in self._stream:
            if self._answer.stopped is not None:
                continue  # on its way when the text had ended
            self.ids.append(token.id)
            yield from self._told(self._answer.push(token.id))
            if self._answer.stopped is not None:
                self._stream.cancel()
        yield from self._told(self._answer.finish())

    def _told(self, piece: str) -> Iterator[str]:
        self.text += piece
        if piece:
            yield piece

    @property
    def finish(self) -> Finish:
        assert self._stream.finish is not None
        return self._stream.finish

    @property
    def reason(self) -> str:
        """Why the answer ended: one of `stream`'s words."""
        return self.finish.reason if self._answer.stopped is None else STOP


def seconds_of(finishes: Sequence[Finish]) -> tuple[float, float]:
    """(until the first token of all was there, until the last was), of requests that were submitted together."""
    return min(one.first_token_s or 0.0 for one in finishes), max(one.total_s for one in finishes)


def speed(finishes: Sequence[Finish], weight_bytes: int | None) -> str:
    """For people, of requests that were submitted together: what was computed, and how fast."""
    first_s, total_s = seconds_of(finishes)
    n_new = sum(one.n_new for one in finishes)
    computed, cached = sum(one.n_prompt - one.n_cached for one in finishes), sum(one.n_cached for one in finishes)
    parts = [
        f"{computed} prompt tokens computed, {cached} from the prefix cache",
        f"{n_new} new tokens in {total_s:.2f} s",
        f"TTFT {first_s:.2f} s",
    ]
    steps, decode_s = max(one.n_new for one in finishes) - 1, total_s - first_s
    if steps > 0 and decode_s > 0:
        parts.append(f"{steps / decode_s:.1f} tokens/s/user")
        if weight_bytes is not None:
            achieved = weight_bytes * steps / decode_s / 1e9
            parts.append(f"weights read at {achieved:.0f} of {DRAM_GB_S} GB/s on each chip")
    return "; ".join(parts)
