"""Text to token ids and back: a sentencepiece model, and Mixtral's chat form.

Knows nothing about tensors or the model; ids are plain lists of int.
"""

from collections.abc import Sequence
from pathlib import Path

import sentencepiece

from models.mixtral8x7b.mistake import Mistake

REPLACEMENT = "�"  # what sentencepiece gives for bytes that are no complete character


class TokenizerError(Mistake):
    """A tokenizer that is missing, unreadable or of another model; the message says which and what to do."""


class Tokenizer:
    """Reads `tokenizer.model` (a file, or the directory that holds it); raises TokenizerError if it cannot."""

    def __init__(self, path: str | Path) -> None:
        file = Path(path)
        file = file / "tokenizer.model" if file.is_dir() else file
        if not file.is_file():
            raise TokenizerError(f"{file} is missing; put the tokenizer.model of the checkpoint there")
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_file=str(file))
        except (RuntimeError, OSError) as error:
            raise TokenizerError(f"{file} is not a sentencepiece model; fetch it again ({error})") from error
        self.file = file
        self.vocab_size: int = self._model.vocab_size()
        self.bos_id: int = self._model.bos_id()
        self.eos_id: int = self._model.eos_id()

    def check_vocab_size(self, expected: int) -> None:
        """Raises TokenizerError if this tokenizer belongs to a model of another vocabulary."""
        if self.vocab_size != expected:
            raise TokenizerError(
                f"{self.file} has {self.vocab_size} pieces; the model has a vocabulary of {expected}: "
                "use the tokenizer.model that came with the weights"
            )

    def encode(self, text: str, bos: bool = True) -> list[int]:
        return [self.bos_id] * bos + self._model.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; BOS and EOS have none."""
        return self._model.decode([i for i in ids if i not in (self.bos_id, self.eos_id)])

    def encode_chat(self, turns: Sequence[str]) -> list[int]:
        """Mixtral's instruct form of a conversation: user, assistant, user, ... The last turn is the user's.

        ["Hi", "Hello.", "Who?"] is  BOS "[INST] Hi [/INST]" "Hello." EOS "[INST] Who? [/INST]", each part encoded on
        its own, as mistral-common's version 1 does. A system prompt goes before the first user's text, with a blank
        line between.
        """
        if len(turns) % 2 == 0:
            raise ValueError(f"a chat has {len(turns)} turns; expected an odd number: the user has the last word")
        ids = [self.bos_id]
        for number, text in enumerate(turns):
            is_user = number % 2 == 0
            ids += self._model.encode(f"[INST] {text} [/INST]") if is_user else [*self._model.encode(text), self.eos_id]
        return ids

    def stream(self) -> "StreamDecoder":
        return StreamDecoder(self)


class StreamDecoder:
    """Decodes ids as they come. Joined, the pieces are `decode` of all ids; none ends inside a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decode = tokenizer.decode
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
