"""`mixtral serve`: what its options come to. The server itself is tested in tests/server.

.venv/bin/python -m pytest tests/cli/test_serve.py
"""

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from models.mixtral8x7b.engine.engine import Options
from tests.cli.conftest import Run

if TYPE_CHECKING:
    from tests.cli.stub import Stub


class FakeServer:
    """In place of the one that would wait for clients."""

    asked: dict[str, Any]
    failure: str | None = None

    def __init__(self, service: Any, taken: socket.socket, drain_s: float, **how: Any) -> None:
        FakeServer.asked = {"service": service, "address": taken.getsockname(), "drain_s": drain_s, **how}

    def run(self) -> str | None:
        self.asked["on_ready"]()
        return self.failure


@pytest.fixture
def asked(stub: "Stub", monkeypatch: pytest.MonkeyPatch) -> type[FakeServer]:
    from models.mixtral8x7b.server import lifecycle

    monkeypatch.setattr(lifecycle, "Server", FakeServer)
    monkeypatch.setattr(FakeServer, "failure", None)
    return FakeServer


def test_with_nothing_set(mixtral: Run, asked: type[FakeServer], stub: "Stub") -> None:
    done = mixtral("serve", "--port", 0)
    assert (done.code, done.out) == (0, "")
    host, port = asked.asked["address"]
    assert host == "127.0.0.1"
    assert done.err.endswith(f"mixtral: serving on http://127.0.0.1:{port}\nmixtral: stopped\n")
    service = asked.asked["service"]
    assert (service.model_name, service.api_key, service.allowed_origins) == ("mixtral", None, ())
    assert service.max_context == stub.options.context == 4096
    assert asked.asked["drain_s"] == 30
    assert stub.models[0].n_blocks == 32 * 4096 // 64
    assert (stub.how, stub.notes_experts) == (Options(), False)


def test_options(mixtral: Run, asked: type[FakeServer], tmp_path: Path, stub: "Stub") -> None:
    key = tmp_path / "key"
    key.write_text("sk-1\n")
    config = tmp_path / "model_config.yaml"
    config.write_text("minWorkers: 1\nhandler: {max_new_tokens: 9, converted_ckpt_dir: there/model.pth}\n")
    options = {
        "host": "0.0.0.0",
        "port": 0,
        "api-key-file": key,
        "model-name": "m",
        "users": 2,
        "queue": 5,
        "pass-tokens": 512,
        "drain": 1.5,
    }
    options |= {"context": 256, "model-config": config, "cors": "http://a"}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = mixtral("serve", *words, "--no-prefix-cache", "--experts")
    assert done.code == 0
    assert f"mixtral: {config} has keys without a meaning here: minWorkers\n" in done.err
    service = asked.asked["service"]
    assert (service.model_name, service.api_key, service.allowed_origins) == ("m", "sk-1", ("http://a",))
    assert stub.how == Options(most_waiting=5, pass_tokens=512, prefix_cache=False)
    assert stub.notes_experts
    assert asked.asked["torchserve"].max_new_tokens == 9
    assert (stub.options.checkpoint, stub.options.context) == (Path("there"), 256)
    assert stub.models[0].n_blocks == 8


def test_sizes_of_a_pass_are_told(mixtral: Run, asked: type[FakeServer], stub: "Stub") -> None:
    done = mixtral("serve", "--port", 0, "--pass-tokens", 300)
    assert "pass_tokens is 300; expected one of 256, 512, 1024, 2048, 4096, 8192, 16384" in done.sentence
    assert stub.models == []


def test_an_engine_that_has_failed_ends_the_process_so_that_it_is_started_again(
    mixtral: Run, asked: type[FakeServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setattr(FakeServer, "failure", "the engine has stopped: see the log")
    done = mixtral("serve", "--port", 0)
    assert done.code == 70
    assert "mixtral: the engine has stopped: see the log\n" in done.err


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(
    mixtral: Run, asked: type[FakeServer], stub: "Stub"
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = mixtral("serve", "--port", port)
    assert f"127.0.0.1 port {port} cannot be had (Address already in use)" in done.sentence
    assert "--port (0 takes a free one)" in done.sentence
    assert stub.models == []


def test_stages_that_cannot_be_are_told_before_the_model_is_loaded(mixtral: Run, stub: "Stub") -> None:
    message = mixtral("serve", "--port", 0, "--ray", "auto").sentence
    assert "--ray is given and --stages is 1; expected at least 2" in message
    message = mixtral("serve", "--port", 0, "--stages", 2, "--experts").sentence
    assert "--experts and --stages are both given; stages note no experts: leave one of them out" in message
    message = mixtral("serve", "--port", 0, "--stages", 2, "--target", "device").sentence
    assert "--stages is 2 on this machine's chips, which only one process can open; expected --ray" in message
    assert stub.models == []


def test_there_are_no_more_stages_than_layers(mixtral: Run) -> None:
    done = mixtral("serve", "--port", 0, "--stages", 4, "--target", "cpu")
    assert done.code == 1
    assert done.err.endswith("mixtral: --stages is 4; expected 1 to 3, the number of layers\n")
