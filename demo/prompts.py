"""What the demo's users say: prompts from a file, or long text with a question at its end, cut to a context."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.tokenizer import Tokenizer
from training.documents import document_prompt, long_document
from training.facts import expected_answer

INPUTS = Path(__file__).parent / "inputs"
BOOK = INPUTS / "book.txt"  # not in the repository; inputs/README.md says which to put there
BOOK_QUESTION = "Who are the main characters of this text, and what do they want?"


class PromptsError(Mistake):
    """A prompts file that cannot be used; the message names the file and what it should hold."""


@dataclass(frozen=True)
class UserPrompt:
    text: str
    ids: Sequence[int]
    expected: str | None = None  # the one right answer, where it is known


def load_prompts(file: Path) -> list[str]:
    """A JSON list of {"prompt": "..."}."""
    try:
        entries = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise PromptsError(f"cannot read the prompts file {file}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise PromptsError(f'{file} is not JSON ({error}); expected a list of {{"prompt": "..."}}') from error
    if not isinstance(entries, list) or not entries:
        raise PromptsError(f'{file} holds no list of prompts; expected [{{"prompt": "..."}}, ...]')
    for number, entry in enumerate(entries, start=1):
        if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str) or not entry["prompt"].strip():
            raise PromptsError(f'entry {number} of {file} is {entry!r}; expected {{"prompt": "some text"}}')
        if any("\ud800" <= character <= "\udfff" for character in entry["prompt"]):
            raise PromptsError(f"entry {number} of {file} holds half a character (a lone surrogate); expected text")
    return [entry["prompt"] for entry in entries]


def short_prompts(file: Path, n_users: int, limit: int, is_instruct: bool, tokenizer: Tokenizer) -> list[UserPrompt]:
    """One prompt per user, in the file's order, repeated when there are fewer; each cut to `limit` tokens.

    When there are more, prints how many are left out.
    """
    texts = load_prompts(file)
    left_out = len(texts) - n_users
    if left_out > 0:
        which = f"{left_out} of the {len(texts)} prompts in {file} {'is' if left_out == 1 else 'are'}"
        print(f"{which} left out, from the end: {n_users} users ask one each; run again with the rest in its own file")
    prompts = []
    for user in range(n_users):
        text = texts[user % len(texts)]
        ids = _cut(text, limit, is_instruct, tokenizer)
        prompts.append(UserPrompt(text, ids, expected_answer(text) if is_instruct else None))
    return prompts


def long_prompts(n_users: int, limit: int, is_instruct: bool, tokenizer: Tokenizer) -> list[UserPrompt]:
    """Prompts of just under `limit` tokens: connected text, and for an instruct model a question about it at the end.

    The text is the book of inputs/README.md where it is present, else a generated document per user.
    """
    if BOOK.is_file():
        return _from_book(BOOK.read_text(encoding="utf-8"), n_users, limit, is_instruct, tokenizer)
    room = limit - len(_encode("", is_instruct, tokenizer))
    prompts = []
    for user in range(n_users):
        document = long_document(user, room, lambda text: len(tokenizer.encode(text, bos=False)))
        text = document_prompt(document.text, document.question) if is_instruct else document.text
        expected = document.answer if is_instruct else None
        prompts.append(UserPrompt(text, _cut(text, limit, is_instruct, tokenizer), expected))
    return prompts


def _from_book(book: str, n_users: int, limit: int, is_instruct: bool, tokenizer: Tokenizer) -> list[UserPrompt]:
    """Every user reads another part of the book, and the same question keeps its place at the end."""
    ids = tokenizer.encode(book, bos=False)
    tail = f"\n\n{BOOK_QUESTION}" if is_instruct else ""
    room = limit - len(_encode(tail, is_instruct, tokenizer)) - 8  # a cut may be encoded in a few tokens more
    if len(ids) < room:
        raise PromptsError(f"{BOOK} has {len(ids)} tokens; {room} are wanted: put a longer book there")
    stride = (len(ids) - room) // max(n_users - 1, 1)
    texts = [tokenizer.decode(ids[user * stride : user * stride + room]) + tail for user in range(n_users)]
    return [UserPrompt(text, _encode(text, is_instruct, tokenizer)) for text in texts]


def _encode(text: str, is_instruct: bool, tokenizer: Tokenizer) -> list[int]:
    return tokenizer.encode_chat([text]) if is_instruct else tokenizer.encode(text)


def _cut(text: str, limit: int, is_instruct: bool, tokenizer: Tokenizer) -> list[int]:
    """The prompt's ids; what is too long loses its beginning, so that the end, where the question is, stays."""
    if limit <= len(_encode("", is_instruct, tokenizer)):
        raise PromptsError(f"{limit} tokens leave no room for a prompt; use a longer context or fewer new tokens")
    ids = _encode(text, is_instruct, tokenizer)
    body, dropped = tokenizer.encode(text, bos=False), 0
    while len(ids) > limit:
        dropped += len(ids) - limit  # a cut text may be encoded in a token more or less than it had
        ids = _encode(tokenizer.decode(body[dropped:]), is_instruct, tokenizer)
    return ids
