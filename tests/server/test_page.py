"""The page's files, as a browser gets them."""

import re
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.chat_page import PAGE_PATHS
from tests.server.conftest import Served

NAMESPACE = "http://www.w3.org/2000/svg"  # a name, which nobody fetches
MOST_BYTES, MOST_BYTES_IN_ALL = 8000, 26000
TYPES = {
    "/": "text/html; charset=utf-8",
    "/page/style.css": "text/css; charset=utf-8",
    "/page/chat.js": "text/javascript; charset=utf-8",
    "/page/icon.svg": "image/svg+xml",
}


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
def test_every_file_is_fenced_in(api: TestClient, path: str) -> None:
    named = {"X-Request-ID": "one"}
    answer = api.get(path, headers=named)
    assert answer.status_code == 200
    policy = dict(directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert {sources for name, sources in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert policy["trusted-types"] == policy["frame-ancestors"] == "'none'", "no HTML from text, no page around it"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert api.head(path, headers=named).headers == answer.headers


@pytest.mark.parametrize(("path", "content_type"), TYPES.items())
def test_content_types(api: TestClient, path: str, content_type: str) -> None:
    assert api.get(path).headers["content-type"] == content_type


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
def test_nothing_comes_from_elsewhere(api: TestClient, path: str) -> None:
    assert re.findall(r"(?:\w+:)?//[^\s/]\S*", api.get(path).text.replace(NAMESPACE, "")) == []


@pytest.mark.parametrize("path", sorted(PAGE_PATHS))
def test_all_that_a_file_names_is_there(api: TestClient, path: str) -> None:
    text = api.get(path).text
    named = re.findall(r'(?:href|src)="(.+?)"', text) + [
        f"page/{name}" for name in re.findall(r'from "\./(.+?)"', text)
    ]
    assert {f"/{name}" for name in named} <= PAGE_PATHS


def test_it_is_small(api: TestClient) -> None:
    sizes = {path: len(api.get(path).content) for path in PAGE_PATHS}
    assert max(sizes.values()) <= MOST_BYTES, sizes
    assert sum(sizes.values()) <= MOST_BYTES_IN_ALL, sizes


def test_it_needs_no_key(served: Served) -> None:
    with TestClient(create_app(replace(served.service, api_key="k"))) as client:
        assert {client.get(path).status_code for path in PAGE_PATHS} == {200}
        beside = ("/page", "/page/", "/page/nothing.js", "/page/../v1/models", "/page/%2e%2e/chat_page.py")
        assert {client.get(path).status_code for path in beside} == {401}


def test_it_is_no_part_of_the_interface(api: TestClient) -> None:
    assert not PAGE_PATHS & set(api.get("/openapi.json").json()["paths"])
