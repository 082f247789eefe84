"""/v1/completions: what is asked for is what comes."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.server.conftest import Served
from tests.server.sse import events_of

PATH = "/v1/completions"


def greedy(served: Served, ids: list[int], n: int) -> list[int]:
    """Of the model alone, without an engine."""
    found = list(ids)
    for _ in range(n):
        found.append(int(served.model.logits(found, len(ids)).argmax()))
    return found[len(ids) :]


def complete(api: TestClient, **fields: Any) -> dict[str, Any]:
    answer = api.post(PATH, json={"prompt": "Once", "temperature": 0} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def texts(api: TestClient, **fields: Any) -> list[str]:
    return [choice["text"] for choice in complete(api, **fields)["choices"]]


def test_the_whole_answer(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "upon a time"
    answer = complete(api, model="mixtral", user="me")
    assert answer["object"] == "text_completion"
    assert answer["model"] == "mixtral"
    (choice,) = answer["choices"]
    assert choice == {
        "index": 0,
        "text": " upon a time",
        "logprobs": None,
        "finish_reason": "stop",
        "stop_reason": None,
    }
    n_prompt, n_new = len(served.tokenizer.encode("Once")), len(served.tokenizer.encode("upon a time", bos=False)) + 1
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (n_prompt, n_new)
    assert usage["total_tokens"] == n_prompt + n_new
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


def test_greedy_is_what_the_model_holds_most_likely_for_text_and_ids(api: TestClient, served: Served) -> None:
    ids = served.tokenizer.encode("Once")
    wanted = greedy(served, ids, 5)
    whole = served.tokenizer.decode(ids + wanted)
    for prompt in ("Once", ids, ["Once"], [ids]):
        assert texts(api, prompt=prompt, max_tokens=5) == [whole.removeprefix("Once")]
    assert texts(api, prompt="Once", add_special_tokens=False, max_tokens=3) == texts(api, prompt=ids[1:], max_tokens=3)


@pytest.mark.parametrize("field", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 0.001}, {"min_p": 1.0}])
def test_what_leaves_one_token_is_greedy(api: TestClient, field: dict[str, Any]) -> None:
    assert texts(api, **({"temperature": 1.5} | field), max_tokens=6) == texts(api, max_tokens=6)


def test_choices_are_ordered_by_prompt_and_number(api: TestClient) -> None:
    answer = complete(api, prompt=["Once", "Twice"], n=2, seed=5, temperature=1, max_tokens=8)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    found = [choice["text"] for choice in answer["choices"]]
    assert found[2:] == texts(api, prompt="Twice", n=2, seed=5, temperature=1, max_tokens=8)
    assert found[1:2] == texts(api, seed=6, temperature=1, max_tokens=8), "seeds follow one another"
    assert answer["usage"]["completion_tokens"] == 32
    assert answer["usage"]["prompt_tokens"] == sum(
        api.post("/tokenize", json={"prompt": text}).json()["count"] for text in ("Once", "Twice")
    )


def test_a_seed_repeats_and_none_does_not(api: TestClient) -> None:
    def draw(**fields: Any) -> list[str]:
        return texts(api, temperature=1, max_tokens=12, **fields)

    assert draw(seed=42) == draw(seed=42) != draw(seed=43)
    assert draw(seed=-5) == draw(seed=-5)
    assert len(set(draw(n=5))) == 5
    assert draw() != draw()
    assert draw(seed=-1) != draw(seed=-1)
    assert len(set(texts(api, n=3, max_tokens=5))) == 1, "greedy choices are equal"


def test_counts_of_tokens_are_exact(api: TestClient) -> None:
    for n in (1, 5, 10):
        answer = complete(api, max_tokens=n, ignore_eos=True)
        assert answer["usage"]["completion_tokens"] == n
        assert answer["choices"][0]["finish_reason"] == "length"
    assert complete(api, ignore_eos=True)["usage"]["completion_tokens"] == 16


def test_the_context_is_used_to_its_end_and_no_further(api: TestClient, served: Served) -> None:
    ids = [5] * 500
    answer = complete(api, prompt=ids, max_tokens=12, ignore_eos=True)
    assert answer["usage"]["total_tokens"] == 512
    for fields in ({"prompt": ids, "max_tokens": 13}, {"prompt": [5] * 512, "max_tokens": 0}):
        refused = api.post(PATH, json=fields | {"stream": True})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "context_length_exceeded"
    assert complete(api, prompt=[5] * 511, max_tokens=1)["usage"]["prompt_tokens"] == 511


def test_stops(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "upon a time there was a king"
    for stop in ("time", ["king", "time"], ["x", "y", "z", "w", "time"]):
        (choice,) = complete(api, stop=stop, max_tokens=50)["choices"]
        assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == (" upon a ", "stop", "time")
    assert texts(api, stop="time", include_stop_str_in_output=True, max_tokens=50) == [" upon a time"]
    assert texts(api, stop="kingdom", max_tokens=50) == [" upon a time there was a king"], "what was held back comes"
    token = served.tokenizer.encode("upon a time", bos=False)[1]
    (choice,) = complete(api, stop_token_ids=[token], max_tokens=50)["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", token)


def test_a_stop_string_ends_the_work_as_well(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "upon a time" + " and on" * 40
    n = complete(api, stop="time", max_tokens=200)["usage"]["completion_tokens"]
    assert n <= len(served.tokenizer.encode("upon a time", bos=False))
    assert served.model.n_steps < 100


def test_min_tokens_and_ignore_eos(api: TestClient, served: Served) -> None:
    served.model.says["Once"] = "Yes"
    assert complete(api, max_tokens=50)["usage"]["completion_tokens"] < 10
    assert complete(api, max_tokens=50, min_tokens=30)["usage"]["completion_tokens"] >= 30
    assert complete(api, max_tokens=50, ignore_eos=True)["usage"]["completion_tokens"] == 50


def test_what_changes_the_odds(api: TestClient, served: Served) -> None:
    ids = served.tokenizer.encode("Once")
    (first,) = greedy(served, ids, 1)
    plain = texts(api, max_tokens=1)
    assert texts(api, max_tokens=1, logit_bias={str(first): -100}) != plain
    bad = served.tokenizer.decode([first])
    assert texts(api, max_tokens=1, bad_words=[bad]) != plain
    assert texts(api, max_tokens=3, allowed_token_ids=[300]) == [served.tokenizer.decode([*ids, 300, 300, 300])[4:]]
    assert texts(api, max_tokens=3, logit_bias={"300": 100}) == texts(api, max_tokens=3, allowed_token_ids=[300])
    liked = {"allowed_token_ids": list(range(300, 340)), "max_tokens": 24}
    for penalty in ({"presence_penalty": 1}, {"frequency_penalty": 2}, {"repetition_penalty": 3}):
        assert texts(api, **liked, **penalty) != texts(api, **liked)


def test_best_of_has_the_likeliest(api: TestClient) -> None:
    def mean(choice: dict[str, Any]) -> float:
        values = choice["logprobs"]["token_logprobs"]
        return sum(values) / len(values)

    fields = {"temperature": 2, "seed": 3, "max_tokens": 6, "logprobs": 0, "ignore_eos": True}
    all_of_them = complete(api, n=5, **fields)["choices"]
    best = complete(api, n=2, best_of=5, **fields)
    ordered = sorted(all_of_them, key=mean, reverse=True)
    assert [choice["text"] for choice in best["choices"]] == [choice["text"] for choice in ordered[:2]]
    assert [choice["index"] for choice in best["choices"]] == [0, 1]
    assert best["usage"]["completion_tokens"] == 30
    assert texts(api, n=2, best_of=5, **(fields | {"logprobs": None})) == [choice["text"] for choice in ordered[:2]]


@pytest.mark.parametrize(
    "options", [{}, {"n": 3}, {"stop": "king"}, {"echo": True}, {"logprobs": 2}, {"max_tokens": 1}]
)
def test_a_stream_is_the_same_answer(api: TestClient, served: Served, options: dict[str, Any]) -> None:
    served.model.says["Once"] = "日本 there was a 😀 king, and so on"
    fields = {"prompt": "Once", "temperature": 0, "max_tokens": 100} | options
    whole = complete(api, **fields)
    answer = api.post(PATH, json=fields | {"stream": True, "stream_options": {"include_usage": True}})
    *events, last = events_of(answer.text)
    assert len({event["id"] for event in events}) == 1
    for choice in whole["choices"]:
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in mine) == choice["text"]
        assert [part["finish_reason"] for part in mine] == [None] * (len(mine) - 1) + [choice["finish_reason"]]
        assert all(part["text"] for part in mine[:-1]), "no empty pieces between"
        assert not any("\ufffd" in part["text"] for part in mine)
        if choice["logprobs"]:
            for key, values in choice["logprobs"].items():
                assert [value for part in mine for value in part["logprobs"][key]] == values
    assert all(event["usage"] is None for event in events)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], whole["usage"]["completion_tokens"])


def test_usage_of_a_stream_only_where_it_is_asked_for(api: TestClient) -> None:
    fields = {"prompt": "Once", "max_tokens": 4, "stream": True, "ignore_eos": True}
    assert not any("usage" in event for event in events_of(api.post(PATH, json=fields).text))
    fields["stream_options"] = {"continuous_usage_stats": True}
    counts = [event["usage"]["completion_tokens"] for event in events_of(api.post(PATH, json=fields).text)]
    assert counts == sorted(counts)
    assert counts[-1] == 4


def test_what_is_null_is_not_there(api: TestClient) -> None:
    fields = dict.fromkeys(
        (
            "best_of",
            "echo",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "n",
            "presence_penalty",
            "seed",
            "stop",
            "stream",
            "stream_options",
            "suffix",
            "top_p",
            "user",
            "model",
            "top_k",
            "min_p",
            "min_tokens",
            "allowed_token_ids",
            "stop_token_ids",
            "bad_words",
            "repetition_penalty",
            "cache_salt",
            "response_format",
        )
    )
    assert texts(api, **fields) == texts(api)


def test_a_salt_separates_caches(api: TestClient) -> None:
    prompt = [7] * 400

    def cached(**fields: Any) -> int:
        usage = complete(api, prompt=prompt, max_tokens=1, **fields)["usage"]
        return usage["prompt_tokens_details"]["cached_tokens"]

    assert [cached(), cached(), cached(cache_salt="a"), cached(cache_salt="a")] == [0, 384, 0, 384]
