"""TorchServe's form: what its clients and its management scripts read."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.model_config import ModelConfigError, read_model_config
from models.mixtral8x7b.server.torchserve import TorchServeOptions
from tests.server.conftest import Served

PATH = "/predictions/mixtral"
ONCE = {"prompt": "Once", "max_new_tokens": 20}
CONFIG = """
minWorkers: 1
maxWorkers: 1
maxBatchDelay: 200
responseTimeout: 300
deviceType: "gpu"
torchrun:
    nproc-per-node: 4
handler:
    converted_ckpt_dir: "checkpoints/mixtral/model.pth"
    max_new_tokens: 7
    compile: true
    stream: false
"""


def text_of(api: TestClient, method: str = "PUT", path: str = PATH, **how: Any) -> str:
    answer = api.request(method, path, **({"json": ONCE} | how))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-request-id"]
    return answer.text


def refusal(answer: Any, status: int, kind: str) -> str:
    assert answer.status_code == status
    body = answer.json()
    assert set(body) == {"code", "type", "message"}
    assert (body["code"], body["type"]) == (status, kind)
    return body["message"]


def test_plain_text_that_goes_on_greedily(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "upon a 日本 time"
    assert text_of(api) == " upon a 日本 time"
    assert api.put(PATH, json=ONCE).headers["ts_stream_next"] == "true"
    completion = api.post(
        "/v1/completions", json={"prompt": "x", "max_tokens": 50, "temperature": 0, "ignore_eos": True}
    )
    assert text_of(api, json={"prompt": "x"}) == completion.json()["choices"][0]["text"], "50 tokens"


def test_every_way_to_ask(api: TestClient) -> None:
    expected = text_of(api)
    for method in ("PUT", "POST", "GET"):
        for path in (PATH, f"{PATH}/1.0", "/models/mixtral/invoke"):
            assert text_of(api, method, path) == expected
    for path in ("/invocations", "/v1/models/mixtral:predict"):
        assert text_of(api, "POST", path) == expected
    raw = b'{"prompt": "Once", "max_new_tokens": 20}'
    assert text_of(api, json=None, content=raw) == expected
    for name in ("data", "body"):
        assert text_of(api, json=None, data={name: raw.decode()}) == expected


def test_curl_as_its_users_type_it(address: str, served: Served, tmp_path: Path) -> None:
    served.model.says["Once"] = "upon a time" + " and on" * 5
    (tmp_path / "request.json").write_text('{"prompt": "Once", "max_new_tokens": 100}')
    command = [
        "curl",
        "--silent",
        "--show-error",
        "--no-buffer",
        f"{address}/predictions/mixtral",
        "-T",
        "request.json",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == " upon a time" + " and on" * 5


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"[", "body"),
        (b"5", ""),
        (b"{}", "prompt"),
        (b'{"prompt": 5}', "prompt"),
        (b'{"prompt": "x", "max_new_tokens": 0}', "max_new_tokens"),
        (b'{"prompt": ""}', "prompt"),
        (b'{"prompt": "x", "max_new_tokens": 5000}', "prompt"),
    ],
)
def test_bad_requests(api: TestClient, body: bytes, field: str) -> None:
    assert field in refusal(api.put(PATH, content=body), 400, "BadRequestException")


def test_models_that_are_not_there(api: TestClient) -> None:
    for answer in (api.put("/predictions/x", json=ONCE), api.put(f"{PATH}/2.0", json=ONCE), api.get("/models/x")):
        assert refusal(answer, 404, "ModelNotFoundException").startswith("Model not found: ")


def test_management_is_read_only(api: TestClient) -> None:
    assert api.get("/ping").json() == {"status": "Healthy"}
    assert api.get("/models").json() == {"models": [{"modelName": "mixtral", "modelUrl": "mixtral"}]}
    (model,) = api.get("/models/mixtral").json()
    assert model["jobQueueStatus"] == {"remainingCapacity": 40, "pendingRequests": 0}
    assert [worker["status"] for worker in model["workers"]] == ["READY"]
    for method in ("PUT", "POST", "DELETE"):
        assert api.request(method, "/models/mixtral").status_code == 405


def test_an_engine_that_has_failed(api: TestClient, served: Served) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    served.model.step = fail  # type: ignore[method-assign]
    served.model.read_tokens = fail  # type: ignore[method-assign, assignment]
    api.put(PATH, json=ONCE)
    assert (api.get("/ping").status_code, api.get("/ping").json()) == (500, {"status": "Unhealthy"})


def test_a_time_limit(served: Served) -> None:
    options = TorchServeOptions(streams=False, response_timeout_s=0.05)
    with TestClient(create_app(served.service, options)) as api:
        answer = api.put(PATH, json={"prompt": "Once", "max_new_tokens": 500})
    assert refusal(answer, 408, "RequestTimeoutException")


def test_the_keys_of_its_configuration(tmp_path: Path, served: Served) -> None:
    file = tmp_path / "model_config.yaml"
    file.write_text(CONFIG)
    config = read_model_config(file)
    assert config.checkpoint == Path("checkpoints/mixtral")
    assert config.options == TorchServeOptions(7, False, 300)
    assert config.ignored == ["compile", "deviceType", "maxBatchDelay", "maxWorkers", "minWorkers", "torchrun"]
    with TestClient(create_app(served.service, config.options)) as api:
        answer = api.put(PATH, json={"prompt": "x"})
        assert "ts_stream_next" not in answer.headers
        wanted = api.post(
            "/v1/completions", json={"prompt": "x", "max_tokens": 7, "temperature": 0, "ignore_eos": True}
        )
        assert answer.text == wanted.json()["choices"][0]["text"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "5",
        "[",
        "handler: 5",
        "handler: {max_new_tokens: 0}",
        "handler: {max_new_tokens: many}",
        "handler: {stream: 1}",
        "responseTimeout: true",
        "responseTimeout: .inf",
        "handler: {converted_ckpt_dir: 5}",
        "\x00",
    ],
)
def test_a_configuration_that_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "model_config.yaml"
    with pytest.raises(ModelConfigError):
        read_model_config(file)
    file.write_text(content)
    with pytest.raises(ModelConfigError):
        read_model_config(file)
