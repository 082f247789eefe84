"""What an answer must look like, as masks over tokens: JSON of a schema, a regular expression, one of some texts."""

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.tokenizer import Tokenizer

ANY_OBJECT = {"type": "object"}
LITTLE_SPACE = r"[ \n\t]{1,20}"


def with_little_space(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, with as much white space between its parts as a page that is indented has: a model may like it so
    much that it writes nothing else."""
    given = schema.get("x-guidance")
    return schema | {"x-guidance": (given if isinstance(given, dict) else {}) | {"whitespace_pattern": LITTLE_SPACE}}


class GrammarError(Mistake):
    """An answer that cannot go on as its grammar wants; the message says why."""


class Matcher:
    """One answer's grammar, as far as it has come."""

    def __init__(self, matcher: LLMatcher, stop_ids: Collection[int]) -> None:
        self._matcher, self._stop_ids = matcher, stop_ids

    def mask(self) -> torch.Tensor:
        """int32 [ceil(vocabulary / 32)]: bit i % 32 of word i // 32 is set where token i may come next."""
        return torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.int32)

    def take(self, token: int) -> None:
        if token not in self._stop_ids and not self._matcher.consume_token(token):
            why = " ".join(self._matcher.get_error().split())
            raise GrammarError(f"the grammar is too large for this answer ({why}); ask for a simpler one")


class Grammars:
    """Of one tokenizer. Every grammar is a function that makes one for an answer. Raises ApiError for what is none."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._stop_ids = frozenset(tokenizer.stop_ids)
        wrapper = TokenizerWrapper(_Tokens(tokenizer))
        self._tokenizer = LLTokenizer(wrapper, n_vocab=tokenizer.vocab_size, eos_token=sorted(self._stop_ids))

    def of_schema(self, param: str, schema: dict[str, Any]) -> Callable[[], Matcher]:
        """JSON that a JSON schema describes."""
        return self._made(param, LLMatcher.grammar_from_json_schema(with_little_space(schema)))

    def of_regex(self, param: str, regex: str) -> Callable[[], Matcher]:
        """Text that all of a regular expression matches."""
        return self._made(param, LLMatcher.grammar_from_regex(regex))

    def of_choice(self, param: str, texts: Sequence[str]) -> Callable[[], Matcher]:
        """One of the texts."""
        one_of = " | ".join(json.dumps(text, ensure_ascii=False) for text in texts)
        return self.of_lark(param, f"start: {one_of}")

    def of_lark(self, param: str, rules: str) -> Callable[[], Matcher]:
        """Text that llguidance's form of Lark describes."""
        return self._made(param, LLMatcher.grammar_from_lark(rules))

    def _made(self, param: str, grammar: str) -> Callable[[], Matcher]:
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            why = " ".join(matcher.get_error().split())[:300]
            raise ApiError(f"{param} cannot be used ({why}); mend it", param=param)
        return lambda: Matcher(matcher.deep_copy(), self._stop_ids)


class _Tokens:
    """What llguidance wants to know of a tokenizer. Text is cut as inside of another, without a space before it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.eos_token_id, self.bos_token_id = tokenizer.eos_id, tokenizer.bos_id
        self.tokens = [tokenizer.token_bytes(i) for i in range(tokenizer.vocab_size)]
        self.special_token_ids = sorted(tokenizer.control_ids)

    def __call__(self, text: bytes) -> list[int]:
        return self._tokenizer.encode_inside(text.decode("utf-8", "replace"))
