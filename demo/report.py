"""How the demo prints: one block per user, then the metrics."""

from collections.abc import Iterable, Sequence

from models.mixtral8x7b.terminal import harmless

SHOWN = 200  # characters of a longer prompt that are shown at each end


def block(number: int, prompt: str, answer: str) -> str:
    """`User 7: <prompt>` on one line, then `Answer: ...`; the middle of a very long prompt is left out."""
    prompt, answer = harmless(" ".join(prompt.splitlines())), harmless(answer)
    if len(prompt) > 3 * SHOWN:
        prompt = f"{prompt[:SHOWN]} [... {len(prompt) - 2 * SHOWN} characters ...] {prompt[-SHOWN:]}"
    return f"User {number}: {prompt}\nAnswer: {answer}\n"


def metrics(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values in two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def count_right(answers: Iterable[str], expected: Iterable[str | None]) -> tuple[int, int]:
    """(exactly right, answers that are known); white space at the ends does not count."""
    known = [(answer, right) for answer, right in zip(answers, expected, strict=True) if right is not None]
    return sum(answer.strip() == right.strip() for answer, right in known), len(known)
