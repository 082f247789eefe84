"""What a tokenizer or a chat can be wrong in."""

from models.mixtral8x7b.mistake import Mistake


class TokenizerError(Mistake):
    """A tokenizer that is missing, unreadable or of another model; the message says which and what to do."""


class StopError(TokenizerError, ValueError):
    """A stop string that no text can have; the message says what was expected."""


def shown(value: object) -> str:
    """A value for people, who need not know Python's word for nothing."""
    return "nothing" if value is None else repr(value)


class ChatError(TokenizerError, ValueError):
    """A chat that cannot be put to the model; the message says what was expected."""
