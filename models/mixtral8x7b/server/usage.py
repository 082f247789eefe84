"""What a request took, in tokens: each prompt counts once, however many answers it gets."""

from collections.abc import Sequence
from typing import Any

from models.mixtral8x7b.server.answers import Ending


class Usage:
    """n_prompt: tokens of all prompts. first: indices of the first answer to each of them."""

    def __init__(self, n_prompt: int, first: Sequence[int]) -> None:
        self._n_prompt, self._first = n_prompt, frozenset(first)
        self._n_new: dict[int, int] = {}
        self._n_cached: dict[int, int] = {}

    def take(self, index: int, n_new: int, ending: Ending | None) -> None:
        self._n_new[index] = n_new
        if ending is not None and index in self._first:
            self._n_cached[index] = ending.finish.n_cached

    def told(self) -> dict[str, Any]:
        n_new = sum(self._n_new.values())
        return {
            "prompt_tokens": self._n_prompt,
            "completion_tokens": n_new,
            "total_tokens": self._n_prompt + n_new,
            "prompt_tokens_details": {"cached_tokens": sum(self._n_cached.values())},
        }
