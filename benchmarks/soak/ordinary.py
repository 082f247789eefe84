"""Clients that ask as they should, and what they must be answered."""

import json
import time
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

from benchmarks.soak.asks import CHAT, COMPLETIONS, Ask
from benchmarks.soak.ledger import ANSWERED, Entry, Ledger
from benchmarks.soak.wire import Address, encoded


def ask(address: Address, ledger: Ledger, one: Ask) -> None:
    entry = ledger.open(one.kind, one.n)
    with address.asked("POST", one.path, encoded(one.fields)) as response:
        if response.status != 200:
            ledger.fault(entry.kind, f"status {response.status}, {response.read()[:200]!r}")
            return
        texts = _streamed(response, one, entry) if one.streams else _whole(response.read(), one)
    ledger.close(entry, ANSWERED)
    check(ledger, entry, one, texts)


def check(ledger: Ledger, entry: Entry, one: Ask, texts: list[str]) -> None:
    if len(texts) != one.n:
        ledger.fault(entry.kind, f"{len(texts)} answers instead of {one.n}")
    elif one.prompt is not None:
        ledger.compare(one.prompt, texts[0].strip(), one.right)
    elif one.choices is not None and texts[0] not in one.choices:
        ledger.fault(entry.kind, f"{texts[0]!r} is none of {one.choices}")


def _whole(body: bytes, one: Ask) -> list[str]:
    if one.path == CHAT:
        return [choice["message"]["content"] for choice in json.loads(body)["choices"]]
    if one.path == COMPLETIONS:
        return [choice["text"] for choice in json.loads(body)["choices"]]
    if one.path == "/v1/responses":
        return ["".join(part["text"] for item in json.loads(body)["output"] for part in item["content"])]
    return [body.decode()] if body else []


def _streamed(response: HTTPResponse, one: Ask, entry: Entry) -> list[str]:
    """Notes when the tokens came. Raises ValueError for a stream that is not whole."""
    texts: dict[int, str] = {}
    first = last = None
    n_tokens = 0
    for event in events(response):
        if event.get("error"):
            raise ValueError(f"the stream ended with {event['error']}")
        pieces = _pieces(event, one)
        if pieces:
            last = time.monotonic()
            first = first or last
        for index, text in pieces:
            texts[index] = texts.get(index, "") + text
        if usage := event.get("usage"):
            n_tokens = usage["completion_tokens"]
    if first is not None and last is not None:
        entry.first_token_s = first - entry.begun
        if n_tokens > 1:
            entry.per_token_s = (last - first) / (n_tokens - 1)
    return [texts[index] for index in sorted(texts)]


def _pieces(event: dict[str, Any], one: Ask) -> list[tuple[int, str]]:
    """The text that an event brings, by its choice."""
    if one.path == CHAT:
        return [(choice["index"], choice["delta"].get("content") or "") for choice in event["choices"]]
    if one.path == COMPLETIONS:
        return [(choice["index"], choice["text"]) for choice in event["choices"]]
    return [(0, event["delta"])] if event["type"] == "response.output_text.delta" else []


def events(lines: HTTPResponse) -> Iterator[dict[str, Any]]:
    """Raises ValueError where the end is missing."""
    last: dict[str, Any] = {}
    for line in lines:
        if line == b"data: [DONE]\n":
            return
        if line.startswith(b"data: "):
            last = json.loads(line[6:])
            yield last
    if last.get("type") not in ("response.completed", "response.incomplete"):
        raise ValueError(f"the stream broke off after {str(last)[:200]}")
