"""A client's side of HTTP/1.1, one request to a connection, for those who mean to break it too."""

import json
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

PATIENCE_S = 120.0  # then a request is lost


class Address:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.pair = (parts.hostname, parts.port)

    @contextmanager
    def connected(self, receive_buffer: int | None = None) -> Iterator[socket.socket]:
        """receive_buffer: bytes that the system takes for a client that does not read."""
        with socket.socket() as connection:
            if receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(PATIENCE_S)
            connection.connect(self.pair)
            yield connection

    @contextmanager
    def asked(
        self, method: str, path: str, body: bytes = b"", kind: str = "application/json"
    ) -> Iterator[HTTPResponse]:
        connection = HTTPConnection(*self.pair, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body or None, {"Content-Type": kind})
            yield connection.getresponse()
        finally:
            connection.close()

    def get(self, path: str) -> tuple[int, bytes]:
        with self.asked("GET", path) as response:
            return response.status, response.read()


def post(path: str, body: bytes, headers: bytes = b"", length: int | None = None) -> bytes:
    """A request as it stands on the wire. length: that it claims to have."""
    claimed = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {claimed}\r\n"
    return head.encode() + headers + b"\r\n" + body


def encoded(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields).encode()


def everything(connection: socket.socket) -> bytes:
    """Till the server closes."""
    found = b""
    while piece := connection.recv(1 << 16):
        found += piece
    return found


def answer_to(connection: socket.socket) -> tuple[int, bytes]:
    response = HTTPResponse(connection, method="POST")
    response.begin()
    return response.status, response.read()


def reset(connection: socket.socket) -> None:
    """Closes without a farewell."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def slowly(connection: socket.socket, n_bytes: int, every_s: float) -> bytes:
    """The first bytes of what comes, one at a time."""
    found = b""
    while len(found) < n_bytes:
        found += connection.recv(1)
        time.sleep(every_s)
    return found
