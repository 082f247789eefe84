"""`mixtral chat`, on an engine whose model says what a test wants.

.venv/bin/python -m pytest tests/cli/test_chat.py
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import Run

if TYPE_CHECKING:
    from tests.cli.stub import Stub

COUNTS = re.compile(r"\[(\d+) prompt tokens computed, (\d+) from the prefix cache; ")


def typed(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def test_turns_go_on_from_each_other(mixtral: Run, stub: "Stub") -> None:
    """Of later turns only what is new is computed, in units of 128 tokens; each draws with a seed of its own."""
    stub.says("The fox is red. " * 30, "naïve 🦊.", "Bye.")
    done = mixtral("chat", "--temperature", 1, "--seed", 0, stdin=typed("Tell of a fox.", "", "And?", "Why?"))
    assert done.code == 0
    assert done.out == f"{'The fox is red. ' * 30}\nnaïve 🦊.\nBye.\n"
    first, second, third = stub.models[0].prompts
    assert first == stub.tokenizer.encode_chat(["Tell of a fox."])
    assert second[: len(first)] == first
    assert third[: len(second)] == second
    assert len(first) > 0
    counts = [(int(computed), int(cached)) for computed, cached in COUNTS.findall(done.err)]
    assert counts[0] == (len(first), 0)
    assert counts[1] == (len(second) - counts[1][1], len(second) // 128 * 128)
    assert counts[2][1] >= counts[1][1] >= 128


def test_system_prompt(mixtral: Run, stub: "Stub") -> None:
    mixtral("chat", "--system", "Be brief.", stdin=typed("Hi"))
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    assert stub.models[0].prompts == [stub.tokenizer.encode_chat(messages)]


def test_what_may_be_typed_besides(mixtral: Run, stub: "Stub", tmp_path: Path) -> None:
    stub.says("Hello.")
    lines = [
        "/help",
        "Hi",
        "/save a chat.json",
        "/save a chat.json",
        "/save",
        "/save .",
        "/fly",
        "/reset",
        "Hi",
        "/quit",
        "X",
    ]
    (tmp_path / "other.json").touch()
    done = mixtral("chat", stdin=typed(*lines[:4], "/save other.json", "/save no/where", *lines[4:]))
    assert (done.code, done.out) == (0, "Hello.\nHello.\n")
    first, second = stub.models[0].prompts
    assert first == second
    assert "/reset        forget all that was said" in done.err
    assert done.err.count("[saved in a chat.json]") == 2
    assert "[other.json exists; choose another name]" in done.err
    assert re.search(r"\[no/where cannot be written: No such file or directory.*; choose another name\]", done.err)
    assert "[/save needs the name of a file]" in done.err
    assert "[. exists; choose another name]" in done.err
    assert "[there is no /fly; /help lists what there is]" in done.err
    saved = json.loads((tmp_path / "a chat.json").read_text(encoding="utf-8"))
    assert saved == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]


def test_a_full_context_drops_the_oldest_turns_and_says_so(mixtral: Run, stub: "Stub") -> None:
    stub.says("The fox is red. " * 8)
    done = mixtral("chat", "--context", 300, "--max-new-tokens", 60, stdin=typed(*["Tell of a fox."] * 6))
    assert done.code == 0
    assert re.search(r"\[the context of 300 tokens is full: the oldest (turn is|\d turns are) forgotten\]", done.err)
    assert all(len(prompt) <= 240 for prompt in stub.models[0].prompts)
    assert len(stub.models[0].prompts) == 6


def test_a_question_without_room_is_one_sentence_and_the_chat_goes_on(mixtral: Run, stub: "Stub") -> None:
    stub.says("Hello.")
    done = mixtral("chat", "--context", 100, "--max-new-tokens", 0, stdin=typed("fox " * 100, "Hi"))
    assert (done.code, done.out) == (0, "Hello.\n")
    assert re.search(r"\[the message has \d+ tokens .* at most 75, .*: shorten it\]", done.err)


def test_an_answer_that_is_cut_off_is_told(mixtral: Run, stub: "Stub") -> None:
    stub.says("naïve 🦊.")
    done = mixtral("chat", "--max-new-tokens", 3, stdin=typed("Hi"))
    assert done.out == "na\ufffd\n"
    assert "[the answer was cut off (--max-new-tokens, --context)]" in done.err


def test_a_line_that_is_no_text_is_told(mixtral: Run, stub: "Stub") -> None:
    stub.says("Hello.")
    assert "[the line is not UTF-8; expected text that is: type it again]" in mixtral("chat", stdin=b"\xff\n").err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--max-new-tokens", 1024], "--max-new-tokens is 1024 and the context 1024; expected room for a question"),
        (["--system", "\udcff"], "the --system is not UTF-8"),
        (["--top-k", 0], "top_k is 0; expected 1 to 32"),
    ],
)
def test_a_mistake_is_one_sentence(mixtral: Run, stub: "Stub", options: list, message: str) -> None:
    done = mixtral("chat", *options, stdin=b"")
    assert (done.code, done.out) == (1, "")
    assert done.sentence.startswith(f"mixtral: {message}")


def test_a_chat_needs_an_input(mixtral: Run, stub: "Stub") -> None:
    assert "a chat needs standard input, output and error, and one of them is closed" in mixtral("chat").sentence


def test_a_base_checkpoint_does_not_chat(mixtral: Run, stub: "Stub") -> None:
    stub.is_instruct = False
    assert "the checkpoint is base, which was not made to chat" in mixtral("chat", stdin=b"Hi\n").sentence
