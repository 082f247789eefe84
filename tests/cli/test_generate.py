"""`mixtral generate`, on an engine whose model says what a test wants.

.venv/bin/python -m pytest tests/cli/test_generate.py
"""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from models.mixtral8x7b.cli.answer import TextStream, speed
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.engine.stream import Finish
from models.mixtral8x7b.sampling import GREEDY
from tests.cli.conftest import Run
from tests.cli.stub import CONTEXT, Stub

PARIS = "The capital of France is Paris."
DEFAULTS = ModelOptions(None, "performance", None, 8, None, False, None)


@pytest.mark.parametrize("way", ["argument", "file", "dash", "pipe", "a file called -"])
def test_standard_output_holds_the_answer_alone(mixtral: Run, stub: Stub, tmp_path: Path, way: str) -> None:
    stub.says(PARIS)
    question = "What is the capital of France?"
    (tmp_path / "a file").write_text(f"\ufeff{question}\n", encoding="utf-8")
    arguments = {"argument": [question], "file": ["--file", "a file"], "dash": ["-"], "a file called -": ["-f", "-"]}
    done = mixtral("generate", *arguments.get(way, []), stdin=f"{question}\n".encode())
    assert (done.code, done.out) == (0, f"{PARIS}\n")
    assert stub.models[0].prompts == [stub.tokenizer.encode_chat([question])]
    said = done.err.splitlines()
    assert said[0] == "mixtral: a stub (says what it is told)"
    assert said[1].startswith("mixtral: 14 prompt tokens computed, 0 from the prefix cache; 10 new tokens in ")
    assert re.search(r" in \d+\.\d\d s; TTFT \d+\.\d\d s; [\d.]+ tokens/s/user$", said[1])
    assert len(said) == 2


@pytest.mark.parametrize(("flavour", "raw"), [("instruct", True), ("base", False)])
def test_text_is_continued(mixtral: Run, stub: Stub, monkeypatch, flavour: str, raw: bool) -> None:
    stub.__init__(flavour)  # type: ignore[misc]
    stub.says("time, there was a fox.")
    done = mixtral("generate", *["--raw"] * raw, stdin=b"  Once upon a\n")
    assert done.out == " time, there was a fox.\n"
    assert stub.models[0].prompts == [stub.tokenizer.encode("  Once upon a")]


def test_json_tells_all(mixtral: Run, stub: Stub) -> None:
    stub.says(PARIS, "naïve 🦊 fox.")
    done = mixtral("generate", "Who?", "--json", "--n", 2, "--temperature", 0.5, "--seed", 4)
    told = json.loads(done.out)
    assert done.out.count("\n") == 1
    assert [answer["text"] for answer in told["answers"]] == [PARIS, "naïve 🦊 fox."]
    assert [answer["seed"] for answer in told["answers"]] == [4, 5]
    assert [answer["finish_reason"] for answer in told["answers"]] == ["stop", "stop"]
    assert told["answers"][0]["token_ids"] == [*stub.answers[0], stub.tokenizer.eos_id]
    assert told["prompt_tokens"] == len(stub.tokenizer.encode_chat(["Who?"]))
    assert 0 <= told["ttft_s"] <= told["total_s"]


def test_several_answers_have_their_own_seeds(mixtral: Run, stub: Stub) -> None:
    stub.says("One.", "Two.", "Three.")
    done = mixtral("generate", "Who?", "--n", 3, "--temperature", 1, "--seed", 3)
    assert done.out == "One.\n---\nTwo.\n---\nThree.\n"
    assert done.err.endswith("; seed 3\n")
    drawn = {mixtral("generate", "Who?", "--temperature", 1).err.rpartition("seed ")[2] for _ in range(4)}
    assert len(drawn) > 1, "a seed that nobody gave is another each time"


def test_stop_strings_are_never_shown(mixtral: Run, stub: Stub) -> None:
    """Also one that begins inside a token and ends inside another; of what follows nothing is shown."""
    stub.says(PARIS)
    assert mixtral("generate", "Who?", "--stop", "ance is", "--stop", "Paris").out == "The capital of Fr\n"
    assert mixtral("generate", "Who?", "--stop", "Parisian", "--json").out.count(PARIS) == 1


def test_text_comes_as_it_is_certain_and_never_half_a_character(stub: Stub) -> None:
    stub.says("naïve 🦊 fox.")
    with stub.prepare(DEFAULTS).serving([100]) as model:
        pieces = list(TextStream(model, [1, 2], 50, GREEDY))
        cut = TextStream(model, [1, 2], 7, GREEDY)
        assert "".join(cut) == "naïve \ufffd"
        assert cut.reason == "length"
    assert "".join(pieces) == "naïve 🦊 fox."
    assert len(pieces) > 4
    assert not any("\ufffd" in piece for piece in pieces)


def test_until_the_context_ends(mixtral: Run, stub: Stub) -> None:
    stub.answers = [[stub.tokenizer.encode("fox", bos=False)[0]] * 2 * CONTEXT]
    done = mixtral("generate", "--raw", "a", "--max-new-tokens", 0, "--context", 200, "--json")
    told = json.loads(done.out)
    n_new = len(told["answers"][0]["token_ids"])
    assert told["prompt_tokens"] + n_new == 200
    assert told["answers"][0]["finish_reason"] == "length"
    assert f"mixtral: the answer was cut off after {n_new} tokens" in done.err
    assert mixtral("generate", "a", "--max-new-tokens", 5).out == "fox fox fox fox fox\n"


def test_options_reach_the_model(mixtral: Run, stub: Stub) -> None:
    options = ["--checkpoint", "some where", "--precision", "accuracy", "--chips", 1, "--fabric", "line"]
    assert mixtral("generate", "a", *options, "--cache-only", "--context", 300, "--target", "cpu").code == 0
    assert stub.options == ModelOptions(Path("some where"), "accuracy", "cpu", 1, "line", True, 300)


MISTAKES = {
    ("",): (1, "the prompt from the command line is empty"),
    (" \n",): (1, "the prompt from the command line is empty"),
    ("\udcff",): (1, "the prompt from the command line is not UTF-8"),
    ("-",): (1, "the prompt from standard input is not UTF-8"),
    ("--file", "nowhere"): (1, "the system refuses: No such file or directory: nowhere"),
    ("--file", "empty"): (1, "the prompt from empty is empty"),
    ("a", "--file", "empty"): (2, "a prompt and --file are both given"),
    ("a", "--n", 0): (2, "--n is 0; expected at least 1"),
    ("a", "--n", 2): (2, "--n is 2 and --temperature 0"),
    ("a", "--max-new-tokens", -1): (2, "invalid value for '--max-new-tokens'"),
    ("a", "--temperature", "hot"): (2, "invalid value for '--temperature'"),
    ("a", "--temperature", -1): (1, "temperature is -1.0; expected 0 (greedy)"),
    ("a", "--temperature", "nan"): (1, "temperature is nan; expected 0 (greedy)"),
    ("a", "--top-p", 2): (1, "top_p is 2.0; expected a number above 0"),
    ("a", "--top-k", 33): (1, "top_k is 33; expected 1 to 32"),
    ("a", "--seed", -1): (1, "seed is -1; expected a whole number of at least 0"),
    ("a", "--stop", "\udcff"): (1, "the --stop is not UTF-8"),
    ("a", "--target", "gpu"): (1, "target is 'gpu'; expected one of"),
}


@pytest.mark.parametrize(("arguments", "ending"), MISTAKES.items(), ids=lambda value: str(value))
def test_a_mistake_is_one_sentence_before_anything_is_loaded(
    mixtral: Run, stub: Stub, tmp_path: Path, arguments: tuple, ending: tuple[int, str]
) -> None:
    (tmp_path / "empty").touch()
    done = mixtral("generate", *arguments, stdin=b"\xff")
    assert (done.code, done.out) == (ending[0], "")
    assert done.sentence.startswith(f"mixtral: {ending[1]}")
    assert stub.models == []


def test_without_input_there_is_no_prompt(mixtral: Run, stub: Stub) -> None:
    assert "the prompt from standard input is empty" in mixtral("generate", stdin=b"\n").sentence
    assert "there is no standard input; give the prompt" in mixtral("generate").sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fox " * 1000], "exceeds the context of 1024"),
        (["a", "--max-new-tokens", 2000], "exceeds the context of 1024: ask for fewer new tokens"),
        (["a", "--stop", ""], "a stop string is ''; expected a text of at least one character"),
    ],
)
def test_a_mistake_that_only_the_model_knows(mixtral: Run, stub: Stub, arguments: list, message: str) -> None:
    done = mixtral("generate", *arguments)
    assert (done.code, done.out, stub.models) == (1, "", [])
    assert message in done.err.splitlines()[-1]


def test_a_fault_inside_the_model_is_told(mixtral: Run, stub: Stub) -> None:
    def fault() -> None:
        raise ValueError("a chip is gone")

    stub.says(PARIS)
    stub.before_step = fault
    done = mixtral("generate", "a")
    assert (done.code, done.out) == (1, "The")
    assert "the engine has stopped: the model failed" in done.err


def test_ctrl_c_during_an_answer(mixtral: Run, stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was said stays; the engine is closed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = []

    def press() -> None:
        steps.append(1)
        if len(steps) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.02)  # what was said before it has been read

    stub.answers = [[stub.tokenizer.encode("fox", bos=False)[0]] * 200]
    stub.before_step = press
    done = mixtral("generate", "a")
    signal.signal(signal.SIGINT, before)
    assert done.code == 130
    assert done.err.endswith("mixtral: stopped; run the same command again\n")
    assert done.out.startswith("fox")
    assert len(steps) < 100


def test_speed_by_hand() -> None:
    """Two at a time: 0.5 s to the first token, then 20 steps of 0.1 s."""
    one, two = (Finish("stop", None, 300, n_cached, 21, 0.1, first, 2.5) for n_cached, first in ((128, 0.5), (0, 0.6)))
    computed = "472 prompt tokens computed, 128 from the prefix cache"
    assert speed([one, two], None) == f"{computed}; 42 new tokens in 2.50 s; TTFT 0.50 s; 10.0 tokens/s/user"
    assert speed([one], 6_000_000_000).endswith("; weights read at 60 of 288 GB/s on each chip")
    assert speed([one._replace(n_new=1)], 6_000_000_000).endswith("TTFT 0.50 s")


def test_a_terminal_gets_no_characters_that_do_something(mixtral: Run, stub: Stub, monkeypatch) -> None:
    from models.mixtral8x7b.terminal import harmless

    assert harmless("a\x1b[2J\x07\tb\n\u202e\x85") == "a\ufffd[2J\ufffd\tb\n\ufffd\ufffd"
