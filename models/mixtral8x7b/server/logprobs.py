"""How likely tokens were, in OpenAI's two forms."""

import math
from collections.abc import Sequence
from typing import Any

from models.mixtral8x7b.server.scores import Told
from models.mixtral8x7b.tokenizer import Tokenizer

IMPOSSIBLE = -9999.0  # JSON has no infinity


class Logprobs:
    """n_top: likely tokens that are told for each. as_ids: tokens are named token_id:N, not by their text."""

    def __init__(self, tokenizer: Tokenizer, n_top: int, as_ids: bool) -> None:
        self._tokenizer, self._n_top, self._as_ids = tokenizer, n_top, as_ids

    def of_completion(self, tokens: Sequence[Told]) -> dict[str, Any]:
        """A token is always among its likely ones, so these are n_top or one more."""
        return {
            "tokens": [self._name(token.id) for token in tokens],
            "token_logprobs": [_finite(token.logprob) for token in tokens],
            "top_logprobs": [self._table(token) for token in tokens],
            "text_offset": [token.offset for token in tokens],
        }

    def of_chat(self, tokens: Sequence[Told]) -> dict[str, Any]:
        content = [
            self._entry(token.id, token.logprob)
            | {"top_logprobs": [self._entry(i, value) for i, value in (token.top or ())[: self._n_top]]}
            for token in tokens
        ]
        return {"content": content, "refusal": None}

    def _table(self, token: Told) -> dict[str, float | None] | None:
        """Two tokens may have one text: the second is named by its id."""
        if token.logprob is None:
            return None
        pairs = list(token.top or ())
        if token.id not in dict(pairs):
            pairs.append((token.id, token.logprob))
        found: dict[str, float | None] = {self._name(token.id): _finite(token.logprob)}
        for i, value in pairs:
            if i != token.id:
                name = self._name(i)
                found[f"token_id:{i}" if name in found else name] = _finite(value)
        return found

    def _entry(self, i: int, logprob: float | None) -> dict[str, Any]:
        return {"token": self._name(i), "logprob": _finite(logprob), "bytes": list(self._tokenizer.token_bytes(i))}

    def _name(self, i: int) -> str:
        return token_name(self._tokenizer, i, self._as_ids)


def token_name(tokenizer: Tokenizer, i: int, as_id: bool) -> str:
    """token_id:N where that is asked for; else its text, or bytes:\\x.. where that is no whole character."""
    if as_id:
        return f"token_id:{i}"
    content = tokenizer.token_bytes(i)
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


def _finite(value: float | None) -> float | None:
    return value if value is None or math.isfinite(value) else IMPOSSIBLE
