"""The text of a prompt: from the command line, from a file, or from standard input."""

import sys
from pathlib import Path

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.mistake import Mistake

STDIN = "-"


class PromptError(Mistake):
    """No text, or not text; the message says what was given."""


def prompt_text(words: str | None, file: Path | None) -> str:
    """`words`, or what the file holds, or what comes on standard input: for STDIN, and where neither is given.

    Of the last two without the line break at the end. Raises UsageMistake for both, PromptError for what is empty or no
    text, OSError for a file that cannot be read.
    """
    if words is not None and file is not None:
        raise UsageMistake("a prompt and --file are both given; expected one of them")
    if file is not None and str(file) != STDIN:
        where, text = str(file), _decoded(str(file), file.read_bytes())
    elif words is None or words == STDIN:
        where, text = "standard input", _from_stdin()
    else:
        where, text = "the command line", words
    if not text.strip():
        raise PromptError(f"the prompt from {where} is empty; expected some text")
    return checked_text(f"prompt from {where}", text)


def checked_text(name: str, text: str) -> str:
    """The text; raises PromptError where bytes in it were none."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise PromptError(f"the {name} is not UTF-8; expected text that is")
    return text


def _from_stdin() -> str:
    if sys.stdin is None:
        raise PromptError("there is no standard input; give the prompt as an argument or with --file")
    if sys.stdin.isatty():
        print("mixtral: reading the prompt from the terminal; end it with Ctrl-D on a line of its own", file=sys.stderr)
    return _decoded("standard input", sys.stdin.buffer.read())


def _decoded(where: str, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        raise PromptError(f"the prompt from {where} is not UTF-8; expected text that is") from error
