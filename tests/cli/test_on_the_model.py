"""generate, chat and bench on the tiny model itself.

.venv/bin/python -m pytest tests/cli/test_on_the_model.py
"""

import json
import re

from tests.cli.conftest import Run

QUESTION, ANSWER = "What is the capital of France?", "The capital of France is Paris."


def test_generate_answers_on_a_fresh_machine(mixtral: Run) -> None:
    done = mixtral("generate", QUESTION)
    assert (done.code, done.out) == (0, f"{ANSWER}\n")
    assert done.err.startswith("mixtral: mixtral-tiny-instruct-")
    assert "on target cpu (computed by the CPU backend" in done.err
    assert "not what Mixtral or a T3000 does" in done.err


def test_other_seeds_draw_otherwise(mixtral: Run) -> None:
    options = ["--temperature", 9, "--seed", 7, "--max-new-tokens", 5, "--chips", 1]
    first, second = json.loads(mixtral("generate", "Once", "--raw", "--json", "--n", 2, *options).out)["answers"]
    assert len(first["token_ids"]) == 5
    assert first["text"] != second["text"]


def test_later_turns_of_a_chat_come_from_the_prefix_cache(mixtral: Run) -> None:
    options = ["--system", "The fox is red. " * 40, "--context", 512, "--max-new-tokens", 12, "--chips", 1]
    done = mixtral("chat", *options, stdin=f"{QUESTION}\n".encode() * 2)
    assert done.code == 0
    counts = re.findall(r"^\[(\d+) prompt tokens computed, (\d+) from the prefix cache", done.err, re.MULTILINE)
    assert [int(cached) for _, cached in counts] == [0, 128]


def test_bench_measures(mixtral: Run) -> None:
    done = mixtral("bench", "--batch", 2, "--input", 5, "--output", 3, "--chips", 1, "--json")
    (row,) = json.loads(done.out)["rows"]
    assert row["ttft_ms_median"] > 0
    assert row["tpot_ms_p99"] >= row["tpot_ms_median"] > 0
