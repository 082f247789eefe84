"""Text and JSON in a request: JSON can hold halves of characters, which are none, and NaN, which is no number."""

import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

_NO_HALVES = "text without halves of characters (\\ud800 to \\udfff)"


def is_whole(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _whole(text: str) -> str:
    if not is_whole(text):
        raise ValueError(_NO_HALVES)
    return text


def checked(value: Any) -> Any:
    """JSON of any form, as it is. Raises ValueError for what cannot be written as JSON again."""
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, dict):
            left += [*one, *one.values()]
        elif isinstance(one, list):
            left += one
        elif isinstance(one, str):
            _whole(one)
        elif isinstance(one, float) and not math.isfinite(one):
            raise ValueError("finite numbers")
    return value


Text = Annotated[str, AfterValidator(_whole)]
SomeText = Annotated[str, Field(min_length=1), AfterValidator(_whole)]
AnyObject = Annotated[dict[str, Any], AfterValidator(checked)]
