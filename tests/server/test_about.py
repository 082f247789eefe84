"""What a server tells of itself."""

from starlette.testclient import TestClient

from tests.server.conftest import Served


def test_models(api: TestClient) -> None:
    (model,) = api.get("/v1/models").json()["data"]
    assert {"id": "mixtral", "object": "model", "max_model_len": 512}.items() <= model.items()
    assert isinstance(model["created"], int)
    assert api.get("/v1/models/mixtral").json() == model


def test_health_and_version(api: TestClient, served: Served) -> None:
    assert api.get("/health").status_code == 200
    assert api.get("/version").json() == {"version": served.service.version}
    served.service.is_draining = True
    assert api.get("/health").status_code == 503
    assert api.post("/v1/completions", json={"prompt": "x"}).status_code == 503


def test_the_version_is_the_projects(served: Served) -> None:
    with open("pyproject.toml") as file:
        assert f'\nversion = "{served.service.version}"\n' in file.read()


def test_the_page_of_the_interface_names_every_route(api: TestClient) -> None:
    paths = api.get("/openapi.json").json()["paths"]
    assert {"/v1/completions", "/v1/chat/completions", "/v1/responses", "/v1/models", "/tokenize", "/health"} <= set(
        paths
    )


def test_the_page_of_the_interface_tells_how_errors_look(api: TestClient) -> None:
    page = api.get("/openapi.json").json()
    for path, methods in page["paths"].items():
        for route in methods.values():
            assert "422" not in route["responses"], "which no client ever gets"
            name = "TorchServeError" if path.startswith(("/ping", "/models")) else "ErrorForm"
            told = route["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert told == {"$ref": f"#/components/schemas/{name}"}
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/responses"):
        assert "503" in page["paths"][path]["post"]["responses"]


def test_tokens_there_and_back(api: TestClient, served: Served) -> None:
    for text in ("Once upon a time", "日本 😀\n", "<s>[INST] not a token </s>"):
        told = api.post("/tokenize", json={"prompt": text}).json()
        assert told["tokens"] == served.tokenizer.encode(text)
        assert told["count"] == len(told["tokens"])
        bare = api.post("/tokenize", json={"prompt": text, "add_special_tokens": False}).json()["tokens"]
        assert bare == told["tokens"][1:]
        assert api.post("/detokenize", json={"tokens": bare}).json() == {"prompt": text}
    messages = [{"role": "user", "content": "Hi"}]
    told = api.post("/tokenize", json={"messages": messages, "return_token_strs": True}).json()
    assert told["tokens"] == served.tokenizer.encode_chat(messages)
    assert len(told["token_strs"]) == told["count"]
    for name, ids in (("<s>", [1]), ("</s>", [2])):  # as lm-eval asks for them
        bare = api.post("/tokenize", json={"prompt": name, "add_special_tokens": False}).json()["tokens"]
        assert bare == ids
        assert api.post("/tokenize", json={"prompt": name}).json()["tokens"] == served.tokenizer.encode(name)
    for wrong in ({}, {"prompt": "x", "messages": messages}, {"prompt": 5}):
        assert api.post("/tokenize", json=wrong).status_code == 400
    assert api.post("/detokenize", json={"tokens": [5000]}).status_code == 400


def test_the_tokenizer(api: TestClient) -> None:
    told = api.get("/tokenizer_info").json()
    assert (told["bos_token"], told["eos_token"]) == ("<s>", "</s>")
    assert {"pad_token", "chat_template"} <= set(told)


def test_metrics_under_known_names(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "Hello there, friend."
    api.post("/v1/chat/completions", json={"messages": [{"role": "user", "content": "Hi"}]})
    for _ in range(2):
        api.post("/v1/completions", json={"prompt": [7] * 300, "max_tokens": 4, "ignore_eos": True})
    text = api.get("/metrics").text
    values = {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
    }

    def value(name: str, labels: str = "") -> float:
        return values[f'vllm:{name}{{{labels}model_name="mixtral"}}']

    for gauge in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert value(gauge) == 0
    n_chat = len(served.tokenizer.encode_chat(["Hi"]))
    n_said = len(served.tokenizer.encode("Hello there, friend.", bos=False)) + 1
    assert value("prompt_tokens_total") == n_chat + 600
    assert value("generation_tokens_total") == n_said + 8
    assert value("prefix_cache_hits_total") == value("prompt_tokens_cached_total") == 256
    assert value("num_preemptions_total") == 0
    assert value("request_success_total", 'finished_reason="stop",') == 1
    assert value("request_success_total", 'finished_reason="length",') == 2
    for histogram in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds"):
        assert value(f"{histogram}_count") == 3
    assert value("inter_token_latency_seconds_count") <= n_said + 8 - 3
    assert value("request_time_per_output_token_seconds_count") == 3
    passes, steps = 3, n_said - 1 + 2 * 3  # of one row each; the second prompt has 300 - 256 tokens that are new
    assert value("iteration_tokens_total_count") == passes + steps
    assert value("iteration_tokens_total_sum") == n_chat + 300 + 44 + steps
    buckets = {size: value("iteration_tokens_total_bucket", f'le="{size}.0",') for size in (1, 32, 64, 256, 512)}
    assert buckets == {1: steps, 32: steps + 1, 64: steps + 2, 256: steps + 2, 512: steps + 3}
    assert value("request_prefill_time_seconds_count") == value("request_decode_time_seconds_count") == 3
