"""Log-probabilities are the model's own, in both forms, of answers and of prompts."""

from typing import Any

import pytest
import torch
from starlette.testclient import TestClient

from tests.server.conftest import Served


def complete(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post("/v1/completions", json={"temperature": 0} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


@pytest.mark.parametrize("n", [0, 1, 3, 20])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_of_a_completion(api: TestClient, served: Served, n: int, temperature: float) -> None:
    ids = served.tokenizer.encode("Once")
    fields = {"prompt": ids, "logprobs": n, "max_tokens": 6, "return_tokens_as_token_ids": True, "ignore_eos": True}
    found = complete(api, **fields, temperature=temperature, seed=4)["logprobs"]
    for place in range(6):
        token = int(found["tokens"][place].removeprefix("token_id:"))
        expected = served.model.logits(ids, len(served.tokenizer.encode("Once"))).log_softmax(-1)
        assert found["token_logprobs"][place] == pytest.approx(float(expected[token]))
        top = found["top_logprobs"][place]
        best = [f"token_id:{i}" for i in torch.topk(expected, n).indices.tolist()]
        assert set(top) == {f"token_id:{token}", *best}
        assert top[f"token_id:{token}"] == found["token_logprobs"][place], "the same number, bit for bit"
        ids = [*ids, token]


def test_without_penalties_and_cuts(api: TestClient) -> None:
    """What was asked for changes the draw, not what is told of the model."""
    plain = complete(api, prompt="Once", max_tokens=1, logprobs=3)["logprobs"]
    changed = complete(api, prompt="Once", max_tokens=1, logprobs=3, logit_bias={"300": 90}, top_k=1)["logprobs"]
    assert plain["top_logprobs"][0].items() <= changed["top_logprobs"][0].items()


def test_offsets_are_where_tokens_begin(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "upon 日本 a 😀 time"
    choice = complete(api, prompt="Once", max_tokens=60, logprobs=0, echo=True)
    found, text = choice["logprobs"], choice["text"]
    assert text == "Once upon 日本 a 😀 time"
    assert found["text_offset"] == sorted(found["text_offset"])
    for token, start in zip(found["tokens"], found["text_offset"], strict=True):
        if token.isascii() and token.isalpha():
            assert text[start:].startswith(token)


def test_tokens_without_a_whole_character_have_bytes(api: TestClient, served: Served) -> None:
    served.model.says["Hi"] = "😀"
    body = {"messages": [{"role": "user", "content": "Hi"}], "logprobs": True, "top_logprobs": 0, "temperature": 0}
    content = api.post("/v1/chat/completions", json=body).json()["choices"][0]["logprobs"]["content"]
    assert bytes(b for entry in content[:-1] for b in entry["bytes"]).decode() == " 😀"
    assert content[-1]["token"] == "</s>"
    assert all(entry["top_logprobs"] == [] for entry in content)


def test_of_a_chat(api: TestClient, served: Served) -> None:
    messages = [{"role": "user", "content": "Hi"}]
    body = {"messages": messages, "logprobs": True, "top_logprobs": 4, "temperature": 0, "max_tokens": 5}
    content = api.post("/v1/chat/completions", json=body).json()["choices"][0]["logprobs"]["content"]
    assert len(content) == 5
    expected = served.model.logits(served.tokenizer.encode_chat(messages), 9).log_softmax(-1)
    best = torch.topk(expected, 4)
    assert [one["logprob"] for one in content[0]["top_logprobs"]] == pytest.approx(best.values.tolist())
    assert content[0]["logprob"] == content[0]["top_logprobs"][0]["logprob"]
    assert content[0]["token"] == content[0]["top_logprobs"][0]["token"]


@pytest.mark.parametrize("max_tokens", [0, 1, 3])
@pytest.mark.parametrize("length", [2, 33, 300])
def test_a_prompt_is_scored(api: TestClient, served: Served, max_tokens: int, length: int) -> None:
    """As lm-eval asks: a value for each id but the first, and exactly so many new ones; twice, with the cache warm."""
    ids = [1, *torch.randint(3, 1024, (length - 1,), generator=torch.Generator().manual_seed(length)).tolist()]
    fields = {"prompt": [ids], "max_tokens": max_tokens, "logprobs": 1, "echo": True, "seed": 1234}
    found = complete(api, **fields, return_tokens_as_token_ids=True)["logprobs"]
    assert len(found["tokens"]) == len(found["token_logprobs"]) == len(found["top_logprobs"]) == length + max_tokens
    assert found["tokens"][:length] == [f"token_id:{i}" for i in ids]
    assert found["token_logprobs"][0] is found["top_logprobs"][0] is None
    for place in range(1, length):
        expected = served.model.logits(ids[:place], length).log_softmax(-1)
        value, top = found["token_logprobs"][place], found["top_logprobs"][place]
        assert value == pytest.approx(float(expected[ids[place]]))
        assert (value == max(top.values())) == (int(expected.argmax()) == ids[place])
    assert complete(api, **fields, return_tokens_as_token_ids=True)["logprobs"] == found


def test_a_scored_prompt_has_its_new_token_though_it_is_the_last(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = ""
    found = complete(api, prompt="Once", max_tokens=1, logprobs=1, echo=True, stop=["</s>"])["logprobs"]
    assert len(found["tokens"]) == len(served.tokenizer.encode("Once")) + 1
    assert found["tokens"][-1] == "</s>"


def test_echo_without_logprobs(api: TestClient) -> None:
    assert complete(api, prompt="Once", max_tokens=0, echo=True)["text"] == "Once"
    assert complete(api, prompt="Once", max_tokens=0)["text"] == ""
    whole = complete(api, prompt="Once", max_tokens=4)["text"]
    assert complete(api, prompt="Once", max_tokens=4, echo=True)["text"] == "Once" + whole


def test_likely_tokens_with_one_text_are_told_apart(api: TestClient) -> None:
    """Byte pieces and letters have one text: as many entries as were asked for, whatever they are called."""
    ids = [1, 300]
    for n in (20, 5):
        for top in complete(api, prompt=ids, max_tokens=8, logprobs=n, ignore_eos=True)["logprobs"]["top_logprobs"]:
            assert n <= len(top) <= n + 1
