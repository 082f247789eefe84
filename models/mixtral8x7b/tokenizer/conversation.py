"""A chat of many turns: each prompt begins with the one before it, id by id, as long as all of it has room."""

from collections.abc import Sequence

from models.mixtral8x7b.tokenizer.errors import ChatError
from models.mixtral8x7b.tokenizer.roles import ASSISTANT, SYSTEM, USER
from models.mixtral8x7b.tokenizer.tokenizer import Tokenizer

KEPT = 3 / 4  # of the room is filled again when turns are dropped, so that not every further turn drops one


class Conversation:
    """One that asks and is answered by turns.

    most_ids    of a prompt: the context less the longest answer
    n_dropped   messages of the user that did not fit any more, since the beginning; their answers went with them

    What was generated is put before the model as it was generated, not as its text would be encoded. (Where the chat's
    form moves the system prompt to the last question, as Mistral's second and third do, only prompts without one begin
    with the one before.)
    """

    def __init__(self, tokenizer: Tokenizer, most_ids: int, system_prompt: str = "") -> None:
        self._tokenizer, self._most_ids = tokenizer, most_ids
        self._system = [{"role": SYSTEM, "content": system_prompt}] if system_prompt else []
        self._said: list[dict[str, str]] = []
        self._encoded: list[int] = []  # the last prompt, with answers as their text is encoded
        self._prompt: list[int] = []  # the same, with answers as they were generated
        self._answer: list[int] | None = None  # what was generated behind it; None: nothing, or not its text
        self.n_dropped = 0

    @property
    def messages(self) -> list[dict[str, str]]:
        """All that is still part of it, the system prompt first."""
        return [*self._system, *self._said]

    def ask(self, text: str) -> list[int]:
        """The ids of the whole chat up to where the answer begins. The oldest turns are dropped if it has no room.

        Raises ChatError, and forgets the question, if it has no room alone.
        """
        said = [*self._said, {"role": USER, "content": text}]
        encoded = self._tokenizer.encode_chat([*self._system, *said])
        prompt = self._as_generated(encoded)
        if len(prompt) > self._most_ids:
            said, encoded = self._shortened(said)
            prompt = encoded
        self._said, self._encoded, self._prompt, self._answer = said, encoded, prompt, None
        return list(prompt)

    def answered(self, ids: Sequence[int], text: str) -> None:
        """What was generated, and what of it is kept: all of its text, or up to a stop string."""
        self._said.append({"role": ASSISTANT, "content": text})
        self._answer = list(ids) if self._tokenizer.decode(ids) == text else None

    def _as_generated(self, encoded: list[int]) -> list[int]:
        """The prompt that begins with the last one and the ids of its answer, if what is encoded begins so too."""
        n, stop_ids = len(self._encoded), self._tokenizer.stop_ids
        end = next((place for place in range(n, len(encoded)) if encoded[place] in stop_ids), None)
        if self._answer is None or end is None or encoded[:n] != self._encoded:
            return encoded
        generated = self._answer[:-1] if self._answer and self._answer[-1] in stop_ids else self._answer
        return [*self._prompt, *generated, *encoded[end:]]

    def _shortened(self, said: list[dict[str, str]]) -> tuple[list[dict[str, str]], list[int]]:
        """(what stays, encoded)"""
        questions = [place for place, message in enumerate(said) if message["role"] == USER]
        for first in questions[1:] or questions:
            encoded = self._tokenizer.encode_chat([*self._system, *said[first:]])
            if len(encoded) <= KEPT * self._most_ids:
                break
        if len(encoded) > self._most_ids:
            raise ChatError(
                f"the message has {len(encoded)} tokens with all that belongs to it; expected at most "
                f"{self._most_ids}, which leaves the answer its room: shorten it"
            )
        self.n_dropped += questions.index(first)
        return said[first:], encoded
