"""What reaches the screen: all that a text says, and nothing that does something to a terminal.

.venv/bin/python -m pytest tests/demo/test_report.py
"""

import sys
import unicodedata

import pytest

from demo.report import block, count_right

DOES_SOMETHING = (
    {chr(code) for code in range(0x20)} - {"\t", "\n"}
    | {chr(code) for code in range(0x7F, 0xA0)}
    | {"\u202a", "\u202b", "\u202c", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"}
)


def answer_of(printed: str) -> str:
    return printed.split("Answer: ", 1)[1].removesuffix("\n")


def test_only_what_does_something_to_a_terminal_is_replaced() -> None:
    every = [chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
    shown = answer_of(block(1, "?", "".join(every)))
    assert shown == "".join("\ufffd" if character in DOES_SOMETHING else character for character in every)
    assert {c for c in every if unicodedata.category(c) == "Cc"} - {"\t", "\n"} <= DOES_SOMETHING


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n\treturn 1\nQuoi\u202f?",
        "a\u00a0b\u2003c\u3000d\u200bx",  # spaces
        "👩\u200d💻 नमस्\u200dते \ufeffx\u00ad",  # joiners, soft hyphens
        "\u200eשלום\u200f, \u061cسلام",  # marks of direction, which turn nothing but themselves
        "\ue000 \U0010fffd \u0378",  # private and unassigned
        "a\u2028b\u2029c",
    ],
)
def test_spaces_joiners_and_unknown_characters_are_text(text: str) -> None:
    assert answer_of(block(1, "?", text)) == text
    if not {"\n", "\u2028"} & set(text):
        assert block(1, text, "x").splitlines()[0] == f"User 1: {text}"


def test_block_and_count() -> None:
    assert block(7, "Who?\nMe", "Nobody.") == "User 7: Who? Me\nAnswer: Nobody.\n"
    assert block(7, "a\r\nb\u2028c", "x") == "User 7: a b c\nAnswer: x\n"
    shown = block(1, "a" * 1000, "b")
    assert "[... 600 characters ...]" in shown
    assert block(2, "bell\a", "\x1b[2Jx\ny") == "User 2: bell\ufffd\nAnswer: \ufffd[2Jx\ny\n"
    assert count_right(["a ", "b", "c"], ["a", "x", None]) == (1, 2)
