"""Tokens with a name of their own, which text is searched for before it is cut into pieces.

Two kinds: control tokens (`<s>`, `<|im_start|>`), which only a chat's form may write, and words, which text is made of.
What is encoded names a control token by its alias: nobody can type that, so that text which looks like a control token
stays text.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.mixtral8x7b.tokenizer.errors import TokenizerError, shown


@dataclass(frozen=True)
class AddedToken:
    id: int
    content: str
    special: bool = False
    lstrip: bool = False  # takes the white space before it
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False  # looked for in text as the tokenizer has changed it

    @classmethod
    def read(cls, token_id: object, values: Mapping[str, Any], file: Path) -> "AddedToken":
        """Raises TokenizerError for what is no token."""
        content = values.get("content")
        is_id = re.fullmatch(r"[0-9]+", str(token_id))
        if not is_id or not isinstance(content, str) or not content:
            raise TokenizerError(
                f"{file} gives {shown(content)} the id {shown(token_id)}; expected a text and a number from 0 up"
            )
        flags = {
            name: values.get(name) is True for name in ("special", "lstrip", "rstrip", "single_word", "normalized")
        }
        return cls(int(str(token_id)), content, **flags)


def merged(tokens: Iterable[tuple[AddedToken, Path]]) -> list[AddedToken]:
    """Of tokens from several files, each once, as the first file has it. Raises TokenizerError if two contradict."""
    by_id: dict[int, tuple[AddedToken, Path]] = {}
    by_content: dict[str, tuple[AddedToken, Path]] = {}
    for token, file in tokens:
        for other, source in filter(None, (by_id.get(token.id), by_content.get(token.content))):
            if (other.id, other.content) != (token.id, token.content):
                raise TokenizerError(
                    f"{file} gives {token.content!r} the id {token.id}, and {source} gives {other.content!r} the id "
                    f"{other.id}; expected one id for each: use the files that came with the weights"
                )
        by_id.setdefault(token.id, (token, file))
        by_content.setdefault(token.content, (token, file))
    return [token for token, _ in by_id.values()]


def aliases(tokens: Iterable[AddedToken]) -> dict[int, str]:
    """Names of equal length that no text holds; other ones each time."""
    secret = secrets.token_hex(16)
    return {token.id: f"<{secret}:{token.id:08x}>" for token in tokens}


def pattern_of(names: Iterable[str]) -> re.Pattern[str]:
    """Matches any of the names, the longest first; nothing if there are none."""
    return re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
