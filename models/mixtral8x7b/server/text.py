"""Text in a request: JSON can hold halves of characters, which are none."""

from typing import Annotated

from pydantic import AfterValidator, Field


def _whole(text: str) -> str:
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("text without halves of characters (\\ud800 to \\udfff)")
    return text


Text = Annotated[str, AfterValidator(_whole)]
SomeText = Annotated[str, Field(min_length=1), AfterValidator(_whole)]
