"""How the demo prints: one block per user, then the metrics."""

import re
from collections.abc import Iterable, Sequence

SHOWN = 200  # characters of a longer prompt that are shown at each end
# C0 but tab and line feed, DEL, C1; and what turns the direction of writing for all that follows
_DOES_SOMETHING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def block(number: int, prompt: str, answer: str) -> str:
    """`User 7: <prompt>` on one line, then `Answer: ...`; the middle of a very long prompt is left out."""
    prompt, answer = _shown(" ".join(prompt.splitlines())), _shown(answer)
    if len(prompt) > 3 * SHOWN:
        prompt = f"{prompt[:SHOWN]} [... {len(prompt) - 2 * SHOWN} characters ...] {prompt[-SHOWN:]}"
    return f"User {number}: {prompt}\nAnswer: {answer}\n"


def _shown(text: str) -> str:
    """Characters that would do something to a terminal as the replacement character; all others are text."""
    return _DOES_SOMETHING.sub("\ufffd", text)


def metrics(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def count_right(answers: Iterable[str], expected: Iterable[str | None]) -> tuple[int, int]:
    """(exactly right, answers that are known); white space at the ends does not count."""
    known = [(answer, right) for answer, right in zip(answers, expected, strict=True) if right is not None]
    return sum(answer.strip() == right.strip() for answer, right in known), len(known)
