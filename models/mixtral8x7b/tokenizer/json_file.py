"""tokenizer.json: what Hugging Face's `tokenizers` reads."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import tokenizers

from models.mixtral8x7b.tokenizer.added_tokens import AddedToken, aliases
from models.mixtral8x7b.tokenizer.beside import Beside
from models.mixtral8x7b.tokenizer.errors import TokenizerError

_USUAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}  # where no file says what the tokens are for


class JsonFile:
    """What a tokenizer.json holds. Raises TokenizerError if it is none that a Mixtral may have."""

    def __init__(self, file: Path, values: dict[str, Any]) -> None:
        self.file, self._values = file, values
        model = values.get("model")
        if file.name.startswith("tekken") or "default_num_special_tokens" in (values.get("config") or {}):
            raise TokenizerError(
                f"{file} is a tekken tokenizer, which no Mixtral was trained with; use the tokenizer.model or "
                "tokenizer.json that came with the weights"
            )
        if not isinstance(model, dict) or not isinstance(model.get("vocab"), dict) or "merges" not in model:
            kind = model.get("type") if isinstance(model, dict) else None
            holds = f"a {kind} tokenizer" if kind else f"JSON with {', '.join(sorted(values)[:4]) or 'nothing in it'}"
            raise TokenizerError(
                f"{file} holds {holds}; expected a BPE tokenizer, as tokenizer.json of every Mixtral is"
            )
        self._vocab: dict[str, int] = model["vocab"]
        self.tokens = added_tokens(file, values)
        contents = {token.content for token in self.tokens}
        self.roles = {role: content for role, content in _USUAL.items() if content in contents}
        self.n_ids = max(self._vocab.values(), default=-1) + 1
        self.has_mistral_pieces = model.get("byte_fallback") is True
        self._names = {number: piece for piece, number in self._vocab.items()}

    def own_tokens(self, renamed: Collection[int]) -> list[AddedToken]:
        """None of them can be named anew."""
        return list(self.tokens)

    def name_of(self, token_id: int) -> str | None:
        return self._names.get(token_id)

    def id_of(self, name: str) -> int | None:
        return self._vocab.get(name)

    def pieces(self, control: Mapping[str, AddedToken], words: Collection[AddedToken], beside: Beside) -> "JsonPieces":
        """The same tokenizer in which control tokens have their aliases for names, whatever they are named in, with one
        more token, which stands between characters when ids are decoded."""
        last = max(self.n_ids, *(token.id + 1 for token in (*words, *control.values())), 0)
        between = AddedToken(last, "", special=True)
        ((_, name_between),) = aliases([between]).items()
        control = {**control, name_between: between}
        model = dict(self._values["model"])
        names = {token.content: alias for alias, token in control.items()}
        gone = {token.id for token in control.values()}
        tokens = {token.content: token for token in words} | dict(control)
        model["vocab"] = {piece: number for piece, number in self._vocab.items() if number not in gone} | {
            name: token.id for name, token in tokens.items()
        }
        model["merges"] = [merge for merge in model["merges"] if _joined(merge) not in names]
        unknown = model.get("unk_token")
        model["unk_token"] = names.get(str(unknown), unknown)
        entries = [_entry(token, name, name in control) for name, token in tokens.items()]
        values = self._values | {"model": model, "added_tokens": entries, "post_processor": None}
        values |= {"truncation": None, "padding": None}
        try:
            whole = tokenizers.Tokenizer.from_str(json.dumps(self._values))
            bytes_of = {
                number: byte for byte in range(256) if (number := self._vocab.get(f"<0x{byte:02X}>")) is not None
            }
            begin = whole.encode("").ids[:1]
            return JsonPieces(tokenizers.Tokenizer.from_str(json.dumps(values)), begin, bytes_of, name_between, last)
        except Exception as error:  # the library raises no other
            raise TokenizerError(
                f"{self.file} is no tokenizer that this version of the tokenizers library ({tokenizers.__version__}) "
                f"reads ({error}); use the file that came with the weights, or a newer library"
            ) from error


class JsonPieces:
    """Cuts text into pieces, and puts them together."""

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        begin: list[int],
        bytes_of: Mapping[int, int],
        between: str,
        id_between: int,
    ) -> None:
        self._tokenizer, self._begin, self._bytes_of = tokenizer, begin, bytes_of
        self._between, self._id_between = between, id_between

    def begins_with(self, bos: int) -> bool:
        """Whether BOS belongs before a text."""
        return self._begin == [bos]

    def encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    encode_form = encode

    def decode(self, ids: Sequence[int]) -> str:
        """The library shows no character of a run of bytes in which one is incomplete: runs are cut at characters."""
        cut: list[int] = []
        for is_byte, group in groupby(ids, key=self._bytes_of.__contains__):
            run = list(group)
            cut += self._characters(run) if is_byte else run
        return self._tokenizer.decode(cut, skip_special_tokens=False).replace(self._between, "")

    def _characters(self, run: list[int]) -> Iterator[int]:
        text = bytes(self._bytes_of[i] for i in run).decode("utf-8", "surrogateescape")  # a wrong byte is a character
        start = 0
        for end in accumulate(len(character.encode("utf-8", "surrogateescape")) for character in text):
            yield from (*run[start:end], self._id_between)
            start = end


def added_tokens(file: Path, values: Mapping[str, Any]) -> list[AddedToken]:
    """Those of a tokenizer.json of any kind. Raises TokenizerError."""
    added = values.get("added_tokens") or []
    if not isinstance(added, list) or not all(isinstance(token, dict) for token in added):
        raise TokenizerError(f"{file} has no list in added_tokens; expected ids and contents")
    return [AddedToken.read(token.get("id"), token, file) for token in added]


def _joined(merge: str | Sequence[str]) -> str:
    return merge.replace(" ", "", 1) if isinstance(merge, str) else "".join(merge)


def _entry(token: AddedToken, name: str, is_control: bool) -> dict[str, Any]:
    flags = {"lstrip": token.lstrip, "rstrip": token.rstrip, "single_word": token.single_word}
    return {
        "id": token.id,
        "content": name,
        "normalized": token.normalized and not is_control,
        "special": is_control,
        **flags,
    }
