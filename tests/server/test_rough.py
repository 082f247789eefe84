"""What comes over the wire from clients that are broken or mean: refused, and the server is well afterwards."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Served
from tests.server.test_leaving import is_idle, until

POST = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
BODY = b'{"prompt": "Once", "max_tokens": 3}'


def said_to(address: str, content: bytes, half_closes: bool = False) -> bytes:
    """What comes back till the server closes, or says nothing for a while."""
    parts = urlsplit(address)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        try:
            connection.sendall(content)
            if half_closes:
                connection.shutdown(socket.SHUT_WR)
            connection.settimeout(1)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
        return answer


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (POST + b"X-Long: " + b"x" * 1_000_000 + b"\r\n\r\n", b"400"),
        (b"GET /v1/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n", b"4"),
        (b"GET /%ff%00%f0 HTTP/1.1\r\nHost: x\r\n\r\n", b"404"),
        (b"nonsense\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00" * 20 + b"\r\n\r\n", b"400"),
        (POST + b"Content-Length: -5\r\n\r\n" + BODY, b"400"),
        (POST + b"Content-Length: 99999999999\r\n\r\n" + BODY, b"413"),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", b""),
        (POST + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY, b"200"),
    ],
    ids=range(9),
)
def test_requests_of_all_kinds(address: str, content: bytes, status: bytes) -> None:
    answer = said_to(address, content)
    if status:
        assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"Traceback" not in answer
    assert httpx.get(f"{address}/health").status_code == 200


def test_a_client_that_stops_in_the_middle_of_its_body(address: str, served: Served) -> None:
    for half_closes in (True, False):
        said_to(address, POST + b"Content-Length: 500\r\n\r\n" + BODY, half_closes)
    until(lambda: is_idle(served))
    assert httpx.post(f"{address}/v1/completions", json={"prompt": "x", "max_tokens": 1}).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/completions", "/v1/chat/completions", "/v1/responses", "/tokenize", "/detokenize"]
)
def test_deep_and_odd_json(api: TestClient, path: str) -> None:
    names = ("prompt", "messages", "input", "tokens", "stop", "logit_bias", "response_format", "tools", "text")
    deep = "[" * 5000 + "]" * 5000
    wide = "{" + ",".join(f'"k{n}": {{}}' for n in range(2000)) + "}"
    for value in (deep, wide, "null", "1e400", '"\\u0000"', "[null]", "[[[]]]", '{"type": {"type": {}}}', "-0.0"):
        for name in names:
            content = f'{{"{name}": {value}}}'
            answer = api.post(path, content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code in (200, 400)
    assert api.get("/health").status_code == 200
