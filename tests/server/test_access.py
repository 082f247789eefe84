"""Keys, origins, sizes, names of requests."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.server.app import create_app
from tests.server.conftest import Served

KEY = "sk-key"
MANY = 1000


@pytest.fixture
def locked(served: Served) -> Iterator[TestClient]:
    service = replace(served.service, api_key=KEY, allowed_origins=("http://page.example",), most_body_bytes=MANY)
    with TestClient(create_app(service)) as client:
        yield client


GUARDED = ["/v1/models", "/v1/models/mixtral", "/v1/nothing", "/tokenizer_info", "/models", "/predictions/mixtral"]


@pytest.mark.parametrize("path", GUARDED)
@pytest.mark.parametrize(
    "given", [None, "", KEY, f"Bearer {KEY}x", f"Bearer {KEY[:-1]}", f"Bearer {KEY}é", "Bearer", f"Basic {KEY}"]
)
def test_without_the_key_nothing_is_told(locked: TestClient, path: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given.encode()}
    answer = locked.get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"


def test_with_the_key(locked: TestClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    assert locked.get("/v1/models", headers=headers).status_code == 200
    answer = locked.post("/v1/completions", json={"prompt": "x", "max_tokens": 1}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize("path", ["/health", "/version", "/metrics"])
def test_what_anybody_may_see(locked: TestClient, path: str) -> None:
    assert locked.get(path).status_code == 200


def test_origins(locked: TestClient, api: TestClient) -> None:
    asked = {"Origin": "http://page.example", "Access-Control-Request-Method": "POST"}
    allowed = locked.options("/v1/completions", headers=asked)
    assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, "http://page.example")
    other = locked.options("/v1/completions", headers=asked | {"Origin": "http://other.example"})
    assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in api.options("/v1/completions", headers=asked).headers, "off by default"


def test_a_body_that_is_too_large(locked: TestClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}".encode(), "Content-Type": "application/json"}
    large = b'{"prompt": "' + b"x" * MANY + b'"}'
    for content in (large, iter([large[:600], large[600:]])):
        answer = locked.post("/v1/completions", content=content, headers=headers)
        assert answer.status_code == 413
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_names_of_requests(api: TestClient) -> None:
    assert api.get("/health", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    names = {api.get("/health", headers=headers).headers["x-request-id"] for headers in ({}, {"x-request-id": "a b"})}
    assert len(names) == 2
    assert "a b" not in names
    assert len(api.get("/v1/nothing").headers["x-request-id"]) == 32
