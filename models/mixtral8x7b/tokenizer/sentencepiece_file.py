"""tokenizer.model: a sentencepiece model, as Mistral publishes it."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import sentencepiece

from models.mixtral8x7b.tokenizer.added_tokens import AddedToken, pattern_of
from models.mixtral8x7b.tokenizer.beside import Beside
from models.mixtral8x7b.tokenizer.errors import TokenizerError

# a model and these bytes are the same model with normalizer_spec.add_dummy_prefix off: protobuf merges what is joined
_NO_PREFIX = b"\x1a\x02\x18\x00"


class SentencePieceFile:
    """What a tokenizer.model holds. Raises TokenizerError if it is none."""

    has_mistral_pieces = True

    def __init__(self, file: Path, content: bytes) -> None:
        try:
            self._model = sentencepiece.SentencePieceProcessor(model_proto=content)
            self._no_prefix = sentencepiece.SentencePieceProcessor(model_proto=content + _NO_PREFIX)
        except RuntimeError as error:
            raise TokenizerError(
                f"{file} is not a sentencepiece model, or not all of one ({len(content)} bytes); compare its size with "
                "the original's, and fetch it if they differ"
            ) from error
        model, self.file = self._model, file
        self.n_ids: int = model.vocab_size()
        own = [i for i in range(self.n_ids) if model.is_control(i) or model.is_unknown(i)]
        self._own = [AddedToken(i, model.id_to_piece(i), special=True) for i in own]
        ids = {"bos_token": model.bos_id(), "eos_token": model.eos_id(), "unk_token": model.unk_id()}
        self.roles = {role: model.id_to_piece(i) for role, i in ids.items() if i >= 0}

    def own_tokens(self, renamed: Collection[int]) -> list[AddedToken]:
        """Its control tokens, but for those that another file names anew."""
        return [token for token in self._own if token.id not in renamed]

    def name_of(self, token_id: int) -> str | None:
        """Of a piece that text is made of; None for other ids."""
        model = self._model
        is_text = token_id < self.n_ids and not (model.is_control(token_id) or model.is_unused(token_id))
        return model.id_to_piece(token_id) if is_text and not model.is_unknown(token_id) else None

    def id_of(self, name: str) -> int | None:
        number = self._model.piece_to_id(name)
        return number if number >= 0 and self._model.id_to_piece(number) == name else None

    def pieces(
        self, control: Mapping[str, AddedToken], words: Collection[AddedToken], beside: Beside
    ) -> "SentencePieces":
        first = self._model if beside.prefixes else self._no_prefix
        other = first if beside.prefixes_every_part else self._no_prefix
        others = [word for word in words if self.name_of(word.id) is None]  # its own pieces it finds itself
        return SentencePieces((first, other, self._no_prefix), control, others, beside.adds_bos is not False)


class SentencePieces:
    """Cuts text into pieces, and puts them together.

    models      for a text's first part, for parts behind a token, and the one that puts no space before a part
    control     by alias
    """

    def __init__(
        self,
        models: tuple[sentencepiece.SentencePieceProcessor, ...],
        control: Mapping[str, AddedToken],
        words: Collection[AddedToken],
        adds_bos: bool,
    ) -> None:
        self._first, self._other, self._no_prefix = models
        self._adds_bos = adds_bos
        self._control = frozenset(token.id for token in control.values())
        self._named = dict(control) | {word.content: word for word in words}
        self._words = {word.id: word.content for word in words}
        self._split = re.compile(f"({pattern_of(self._named).pattern})") if self._named else None

    def encode(self, text: str) -> list[int]:
        """Of a text that somebody wrote."""
        ids: list[int] = []
        for number, (part, token) in enumerate(self._parts(text)):
            if token:
                ids.append(token.id)
            else:
                ids += self._cut(part, self._first if number == 0 else self._other)
        return ids

    def encode_form(self, text: str) -> list[int]:
        """Of what a template wrote: a space that a part begins with stands for the one that is put before a text."""
        ids: list[int] = []
        for number, (part, token) in enumerate(self._parts(text)):
            model = self._first if number == 0 else self._other
            if token:
                ids.append(token.id)
            else:
                ids += self._cut(part, self._no_prefix if part[0] in " ▁" else model)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids that mean nothing have no text."""
        n_ids, text = self._first.vocab_size(), ""
        known = [i for i in ids if i in self._words or i < n_ids]
        for is_word, group in groupby(known, key=self._words.__contains__):
            if is_word:
                text += "".join(self._words[i] for i in group)
            else:
                text += (self._no_prefix if text else self._first).decode(list(group))
        return text

    def begins_with(self, bos: int) -> bool:
        """Whether BOS belongs before a text."""
        return self._adds_bos

    def _cut(self, part: str, model: sentencepiece.SentencePieceProcessor) -> list[int]:
        ids = model.encode(part)
        if self._control.isdisjoint(ids):
            return ids
        cut: list[int] = []  # pieces that the model itself finds in text, although they are control tokens
        for i in ids:
            cut += [j for c in model.id_to_piece(i) for j in self._no_prefix.encode(c)] if i in self._control else [i]
        return cut

    def _parts(self, text: str) -> Iterator[tuple[str, AddedToken | None]]:
        """Text that is not empty, and tokens between."""
        parts = self._split.split(text) if self._split else [text]
        tokens = [self._named.get(part) if number % 2 else None for number, part in enumerate(parts)]
        for number, (part, token) in enumerate(zip(parts, tokens, strict=True)):
            if token:
                yield part, token
                continue
            if number > 0 and (before := tokens[number - 1]) and before.rstrip:
                part = part.lstrip()
            if number + 1 < len(parts) and (after := tokens[number + 1]) and after.lstrip:
                part = part.rstrip()
            if part:
                yield part, None
