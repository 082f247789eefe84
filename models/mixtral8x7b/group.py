"""What a caller asks of the generator: read, and checked before any work."""

from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from models.mixtral8x7b.arguments import RequestError, described, require_whole, token_ids
from models.mixtral8x7b.sampling import SamplingParams


@dataclass(frozen=True)
class Group:
    """One group of users. Prompts and sampling parameters are in the order of the users."""

    prompts: list[list[int]]
    max_new_tokens: int
    sampling: list[SamplingParams]
    stop_ids: frozenset[int]
    prefill: int | None

    @classmethod
    def read(
        cls,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        sampling: Sequence[SamplingParams] | SamplingParams,
        stop_ids: Collection[int],
        prefill: int | None,
    ) -> "Group":
        """From the arguments of `Generator.generate`; raises RequestError for one that is of another kind."""
        users = [
            token_ids(f"the prompt of user {user}", ids)
            for user, ids in enumerate(_each("prompts", prompts, "a list of prompts"), start=1)
        ]
        if isinstance(sampling, SamplingParams):
            sampling = [sampling] * len(users)
        params = _each("sampling", sampling, "SamplingParams, or one for each user")
        for one in params:
            if not isinstance(one, SamplingParams):
                raise RequestError(f"a user's sampling {described(one)}; expected SamplingParams")
        return cls(
            users,
            require_whole("max_new_tokens", max_new_tokens),
            params,
            frozenset(token_ids("stop_ids", list(stop_ids) if isinstance(stop_ids, Set) else stop_ids)),
            None if prefill is None else require_whole("prefill", prefill),
        )

    def check(self, most_users: int, vocab_size: int, max_context: int) -> None:
        """Raises RequestError for numbers that this model cannot serve."""
        n_users, n_new = len(self.prompts), self.max_new_tokens
        if not 1 <= n_users <= most_users:
            raise RequestError(f"{n_users} users; expected 1 to {most_users}")
        if len(self.sampling) != n_users:
            raise RequestError(f"{len(self.sampling)} sampling parameters for {n_users} users; expected one each")
        if n_new < 1:
            raise RequestError(f"max_new_tokens is {n_new}; expected at least 1")
        if self.prefill is not None and self.prefill < 0:
            raise RequestError(f"prefill is {self.prefill}; expected 0 (decode only) or more")
        for user, ids in enumerate(self.prompts, start=1):
            if not ids:
                raise RequestError(f"the prompt of user {user} is empty; expected at least one token (BOS)")
            if len(ids) + n_new > max_context:
                raise RequestError(
                    f"the prompt of user {user} has {len(ids)} tokens; with {n_new} new ones it exceeds the context of "
                    f"{max_context}: shorten it to {max_context - n_new}"
                )
            for token in ids:
                if not 0 <= token < vocab_size:
                    raise RequestError(f"user {user} has token id {token}; the vocabulary is 0 to {vocab_size - 1}")


def _each(name: str, values: Any, expected: str) -> list[Any]:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise RequestError(f"{name} {described(values)}; expected {expected}")
    return list(values)
