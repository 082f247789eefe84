"""A server over a model without arithmetic: in this process, and on a port of its own."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext
from starlette.testclient import TestClient

from models.mixtral8x7b.checkpoint.tiny import CHECKPOINTS
from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.server.browser import NoBrowserError, chromium
from tests.server.stub import TextModel

MOST_WAITING = 40
PATIENCE_MS = 30_000  # of a browser


@dataclass
class Served:
    model: TextModel
    service: Service
    app: FastAPI

    @property
    def tokenizer(self) -> Tokenizer:
        return self.service.tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(CHECKPOINTS / "mixtral-tiny-instruct")


@pytest.fixture
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    with serving(TextModel(tokenizer), tokenizer) as served:
        yield served


@contextmanager
def serving(model: TextModel, tokenizer: Tokenizer) -> Iterator[Served]:
    with Engine(model, Options(most_waiting=MOST_WAITING)) as engine:
        service = Service(engine, tokenizer, model.max_context)
        yield Served(model, service, create_app(service))
        model.gate.set()


@pytest.fixture
def api(served: Served) -> Iterator[TestClient]:
    """In this process; what is streamed comes in one piece."""
    with TestClient(served.app, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def listening(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The address of a real server. Port 0 is a free one."""
    config = uvicorn.Config(app, port=port, log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        thread.join(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def address(served: Served) -> Iterator[str]:
    """Of a real server."""
    with listening(served.app) as address:
        yield address
        served.model.gate.set()


@pytest.fixture
def http(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as client:
        yield client


# ---------------------------------------------------------------- the page, in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with chromium() as browser:
            yield browser
    except NoBrowserError as error:
        pytest.skip(str(error))


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """One user's, whose console stays free of errors: a policy that is broken is one."""
    context, errors = browser.new_context(), []
    context.set_default_timeout(PATIENCE_MS)
    context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    context.on("weberror", lambda error: errors.append(str(error.error)))
    yield context
    context.close()
    assert [error for error in errors if "Failed to load resource" not in error] == []


class Steps:
    """Of a model that takes one only when it is let."""

    def __init__(self, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
        self._allowed, step = threading.Semaphore(0), served.model.step

        def wait() -> None:
            assert self._allowed.acquire(timeout=60)
            step()

        monkeypatch.setattr(served.model, "step", wait)

    def let(self, n: int) -> None:
        self._allowed.release(n)


@pytest.fixture
def steps(served: Served, monkeypatch: pytest.MonkeyPatch) -> Iterator[Steps]:
    steps = Steps(served, monkeypatch)
    yield steps
    steps.let(10_000)
