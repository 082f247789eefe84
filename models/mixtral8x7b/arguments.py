"""What callers hand in, read for what it is: whole numbers of any library, and lists of them.

A number that came from numpy counts as one; True, 1.0 and "1" do not.
"""

from collections.abc import Iterable, Mapping, Set
from numbers import Integral
from typing import Any

from models.mixtral8x7b.mistake import Mistake


class RequestError(Mistake, ValueError):
    """A request that cannot be served; the message names the user's number where there is one, and the limit."""


def whole_number(value: Any) -> int | None:
    """The value as an int; None where it is no whole number."""
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def require_whole(name: str, value: Any) -> int:
    """The value as an int; raises RequestError, with the name, where it is no whole number."""
    number = whole_number(value)
    if number is None:
        raise RequestError(f"{name} {described(value)}; expected a whole number")
    return number


def token_ids(name: str, ids: Any) -> list[int]:
    """The ids as a list, out of anything that has them in order, a tensor or an array with one dimension too.

    Raises RequestError, with the name, where they are text, or not whole numbers.
    """
    if isinstance(ids, (str, bytes)):
        raise RequestError(f"{name} {described(ids)}; expected token ids, which the tokenizer makes of text")
    values = ids.tolist() if hasattr(ids, "tolist") else ids
    if not isinstance(values, Iterable) or isinstance(values, (Mapping, Set)):
        raise RequestError(f"{name} {described(ids)}; expected a list of token ids")
    values = list(values)
    if set(map(type, values)) <= {int}:  # the usual case, and fast: prompts are long
        return values
    numbers = [whole_number(value) for value in values]
    if None in numbers:
        wrong = values[numbers.index(None)]
        raise RequestError(f"{name} has an id that {described(wrong)}; expected whole numbers")
    return [number for number in numbers if number is not None]


def described(value: Any) -> str:
    """For a message after a name: "is '1' (of type str)" or "is not given"; long values are cut."""
    if value is None:
        return "is not given"
    text = " ".join(repr(value).split())
    return f"is {text if len(text) <= 40 else text[:40] + '..'} (of type {type(value).__name__})"
