"""A prompt that is told back, with how likely the model held its tokens."""

from typing import Any, NamedTuple

from models.mixtral8x7b.engine.model import Choices
from models.mixtral8x7b.host_rows import Scored, score
from models.mixtral8x7b.tokenizer import Tokenizer


class Told(NamedTuple):
    """A token that a client is told of."""

    id: int
    logprob: float | None  # None: not known, or not asked for
    top: list[tuple[int, float]] | None
    offset: int  # characters of the text before it
    is_new: bool  # False: of the prompt
    experts: Choices | None = None  # None: not known, or not asked for


class Echo:
    """text: of the prompt, as the client gave it. n_top: likely tokens that are told for each; None: none at all."""

    def __init__(self, tokenizer: Tokenizer, ids: list[int], text: str, n_top: int | None) -> None:
        self.text = text
        self._tokenizer, self._ids, self._n_top = tokenizer, ids, n_top
        self._scored: dict[int, Scored] = {}  # by place
        self.take_logits = None if n_top is None else self._take

    def told(self) -> list[Told]:
        """When the first new token is there. The first of a prompt is told by nothing."""
        if self._n_top is None:
            return []
        answer = self._tokenizer.answer()
        for token in self._ids:
            answer.push(token)
        found = []
        for place, (token, offset) in enumerate(zip(self._ids, answer.offsets, strict=True)):
            scored = self._scored.get(place)
            logprob, top = (scored.logprob, scored.top) if scored is not None else (None, None)
            found.append(Told(token, logprob, top, min(offset, len(self.text)), is_new=False))
        return found

    def _take(self, start: int, logits: Any) -> None:
        """In the engine's thread."""
        tokens = self._ids[start + 1 : start + 1 + len(logits)]  # those that came next
        scored = score(logits[: len(tokens)], tokens, self._n_top or 0)
        self._scored.update(enumerate(scored, start=start + 1))
