"""Text of a model on a terminal."""

import re

# C0 but tab and line feed, DEL, C1; and what turns the direction of writing for all that follows
_DOES_SOMETHING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def harmless(text: str) -> str:
    """Characters that would do something to a terminal as the replacement character; all others are text."""
    return _DOES_SOMETHING.sub("\ufffd", text)
