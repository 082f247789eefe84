"""Server-sent events, read strictly."""

import json
from typing import Any


def events_of(body: str) -> list[dict[str, Any]]:
    """All of a stream that ended well, without its [DONE]."""
    *events, last, rest = body.split("\n\n")
    assert rest == ""
    assert last == "data: [DONE]"
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [json.loads(event.removeprefix("data: ")) for event in events]
