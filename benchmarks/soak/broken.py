"""Clients that leave, dawdle, or send what nobody can read; and what may become of them."""

import json
import random
import time
from collections.abc import Callable
from contextlib import suppress

from benchmarks.soak.asks import CHAT, COMPLETIONS, Ask, Asks
from benchmarks.soak.ledger import ANSWERED, CUT, LEFT, REFUSED, Entry, Ledger
from benchmarks.soak.ordinary import check
from benchmarks.soak.wire import Address, answer_to, encoded, everything, post, reset, slowly

Client = Callable[[Address, Ledger, Asks, random.Random], None]

ENDLESS = {"prompt": "Once upon a time", "max_tokens": 300, "ignore_eos": True, "temperature": 0, "stream": True}
SMALLEST_BUFFER = 2304  # bytes, about the least that Linux gives
DEEP = b'{"messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
MALFORMED = (
    b"",
    b"{",
    b"[]",
    b'"text"',
    b'{"prompt": NaN}',
    b'{"messages": null}',
    b'{"messages": [{"role": "user", "content": 5}]}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"messages": [{"role": "nobody", "content": "x"}], "temperature": -1}',
    b'{"messages": [{"role": "user", "content": "x"}], "n": 1' + b"0" * 5000 + b"}",
    b'{"messages": [{"role": "user", "content": "x"}], "max_tokens": 1' + b"0" * 300 + b"}",
)


def leaves_before_the_first_byte(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    entry = ledger.open("leaves before the first byte", 1)
    with address.connected() as connection:
        connection.sendall(post(COMPLETIONS, encoded(ENDLESS | {"stream": draw.random() < 0.5})))
        time.sleep(draw.choice((0, 0, 0.002, 0.02)))
        if draw.random() < 0.5:
            reset(connection)
    ledger.close(entry, LEFT)


def leaves_in_mid_stream(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    n = draw.choice((1, 3))
    entry = ledger.open("leaves in mid stream", n)
    with address.connected() as connection:
        connection.sendall(post(COMPLETIONS, encoded(ENDLESS | {"n": n})))
        connection.recv(draw.choice((1, 400, 4000)))
        if draw.random() < 0.5:
            reset(connection)
    ledger.close(entry, LEFT)


def reads_slowly(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    """A byte every 100 ms for a while, then all: the answer is whole, and right."""
    one = asks.known(draw)
    entry = ledger.open("reads slowly", 1)
    with address.connected(SMALLEST_BUFFER) as connection:
        connection.sendall(post(one.path, encoded(one.fields), b"Connection: close\r\n"))
        answer = slowly(connection, 40, 0.1) + everything(connection)
    if not answer.startswith(b"HTTP/1.1 200") or not answer.endswith(b"0\r\n\r\n" if one.streams else b"}"):
        ledger.fault(entry.kind, f"{answer[:60]!r} .. {answer[-60:]!r}")
    ledger.close(entry, ANSWERED)


def stops_reading(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    entry = ledger.open("stops reading", 3)
    with address.connected(SMALLEST_BUFFER) as connection:
        connection.sendall(post(COMPLETIONS, encoded(ENDLESS | {"n": 3})))
        connection.recv(1)
        time.sleep(5)
    ledger.close(entry, LEFT)


def writes_slowly(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    question = asks.known(draw)
    one = Ask("writes slowly", CHAT, _as_chat(question), question.prompt, question.right)
    entry, request = ledger.open(one.kind, 1), post(CHAT, encoded(one.fields))
    with address.connected() as connection:
        for start in range(0, len(request), 40):
            connection.sendall(request[start : start + 40])
            time.sleep(0.05)
        status, body = answer_to(connection)
    if status == 200:
        check(ledger, entry, one, [json.loads(body)["choices"][0]["message"]["content"]])
    else:
        ledger.fault(entry.kind, f"status {status}, {body[:200]!r}")
    ledger.close(entry, ANSWERED)


def malformed(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    _refused(address, ledger, ledger.open("malformed body"), post(CHAT, draw.choice(MALFORMED)))


def bad_utf8(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    body = b'{"messages": [{"role": "user", "content": "\xff\xfe\xc0"}]}'
    _refused(address, ledger, ledger.open("bad UTF-8"), post(CHAT, body))


def deep_json(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    _refused(address, ledger, ledger.open("deep JSON"), post(CHAT, DEEP))


def claims_too_much(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    _refused(address, ledger, ledger.open("too large a body"), post(CHAT, b"{", length=1 << 40), 413)


def large_header(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    """1 MB: the server may close before it has read all."""
    entry = ledger.open("header of 1 MB")
    with address.connected() as connection:
        try:
            connection.sendall(post(CHAT, b"{}", b"X-Long: " + b"x" * 1_000_000 + b"\r\n"))
            status = everything(connection)[:12]
        except ConnectionError:
            ledger.close(entry, CUT)
            return
    if status != b"HTTP/1.1 400":
        ledger.fault(entry.kind, f"{status!r}")
    ledger.close(entry, REFUSED)


def half_closes(address: Address, ledger: Ledger, asks: Asks, draw: random.Random) -> None:
    """After its request, or in the middle of it: whoever will not send is taken for one who has left."""
    in_the_middle = draw.random() < 0.5
    entry = ledger.open("half closes", 0 if in_the_middle else 1)
    body = encoded(ENDLESS)
    with address.connected() as connection:
        connection.sendall(post(COMPLETIONS, body, length=len(body) + 100 * in_the_middle))
        connection.shutdown(1)
        with suppress(ConnectionError):
            everything(connection)
    ledger.close(entry, CUT)


BROKEN: tuple[Client, ...] = (
    leaves_before_the_first_byte,
    leaves_in_mid_stream,
    reads_slowly,
    stops_reading,
    writes_slowly,
    malformed,
    bad_utf8,
    deep_json,
    claims_too_much,
    large_header,
    half_closes,
)


def _refused(address: Address, ledger: Ledger, entry: Entry, request: bytes, expected: int = 400) -> None:
    with address.connected() as connection:
        connection.sendall(request)
        status, body = answer_to(connection)
    try:
        is_in_form = set(json.loads(body)["error"]) == {"message", "type", "param", "code"}
    except (ValueError, LookupError, TypeError):
        is_in_form = False
    if status != expected or not is_in_form:
        ledger.fault(entry.kind, f"status {status}, {body[:200]!r}")
    ledger.close(entry, REFUSED)


def _as_chat(question: Ask) -> dict[str, object]:
    assert question.prompt is not None
    return {"messages": [{"role": "user", "content": question.prompt}], "temperature": 0}
