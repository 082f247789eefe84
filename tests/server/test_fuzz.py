"""Hostile requests to every route: none is a fault of the server's, and it goes on as before."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.server.conftest import Served
from tests.server.fuzz import barrage
from tests.server.stub import TextModel
from tests.server.test_leaving import is_idle, until

CONTEXT = 96


@pytest.fixture(scope="module")
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    """Of a short context, so that no answer is long."""
    model = TextModel(tokenizer, CONTEXT)
    with Engine(model, Options(most_waiting=8)) as engine:
        service = Service(engine, tokenizer, CONTEXT)
        yield Served(model, service, create_app(service))


def test_no_request_is_a_fault_of_the_server(served: Served) -> None:
    served.model.says["Which?"] = "this one"
    with TestClient(served.app, raise_server_exceptions=False, follow_redirects=False) as api:
        barrage(api, served.app, 250)
        until(lambda: is_idle(served))
        assert api.get("/health").status_code == 200
        answer = api.post("/v1/completions", json={"prompt": "Which?", "temperature": 0})
        assert answer.json()["choices"][0]["text"].strip() == "this one"
