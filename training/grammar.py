"""Recognises the corpus's sentences: does a text consist of them, up to an unfinished last one?

Judges what a model writes. It knows every sentence by itself, not how sentences follow each other: that "he" is the boy
of the sentence before is not checked.
"""

import re
from collections.abc import Iterator
from functools import cache

from training.documents import HIDDEN_FORMS, HIDDEN_SLOTS
from training.facts import held_out_pairs, seen_pairs
from training.stories import BEATS, SLOTS

# A sentence form: its parts in order, each one of several texts.
Form = tuple[tuple[str, ...], ...]

_SLOT = re.compile(r"(\{\w+\})")


def reads_on(text: str) -> bool:
    """Whether the text is sentences of the corpus, then, perhaps, the beginning of one more."""
    return is_beginning(read(text)[1])


def read(text: str) -> tuple[int, str]:
    """(number of whole sentences that the text starts with, what follows them).

    read("A cow says moo. The fox looked hungry. Hello") is (2, "Hello").
    """
    count = 0
    rest = text.strip()
    while rest:
        ends = [end for form in _forms() for end in _ends(form, rest) if end == len(rest) or rest[end].isspace()]
        if not ends:
            break
        rest = rest[max(ends) :].lstrip()
        count += 1
    return count, rest


def is_beginning(text: str) -> bool:
    """Whether some sentence of the corpus starts with this text; "" starts any."""
    return any(_may_grow(form, text) for form in _forms())


@cache
def _forms() -> tuple[Form, ...]:
    templates = [template for beat in BEATS for template in beat]
    pairs = seen_pairs() + held_out_pairs()
    answers = {pair.answer for pair in pairs}
    questions = {pair.question for pair in pairs}
    return (
        *(_parts(template, SLOTS) for template in templates),
        *(_parts(start + sentence, HIDDEN_SLOTS) for sentence, _ in HIDDEN_FORMS for start in ("", "Answer: ")),
        *(_parts(f"Question: {question}", HIDDEN_SLOTS) for _, question in HIDDEN_FORMS),
        (("", "Answer: "), tuple(sorted(answers))),
        (("Question: ",), tuple(sorted(questions))),
        (("Answer:",),),
    )


def _parts(template: str, slots: dict[str, tuple[str, ...]]) -> Form:
    """ "A {animal} ran." -> (("A ",), ("fox", "bear", ...), (" ran.",))"""
    return tuple(slots[part[1:-1]] if _SLOT.fullmatch(part) else (part,) for part in _SLOT.split(template) if part)


def _steps(form: Form, text: str) -> Iterator[tuple[tuple[str, ...], set[int]]]:
    """Part by part: the part, and every place in the text where it may start."""
    starts = {0}
    for part in form:
        yield part, starts
        starts = {start + len(option) for start in starts for option in part if text.startswith(option, start)}
    yield ("",), starts


def _ends(form: Form, text: str) -> set[int]:
    *_, (_, ends) = _steps(form, text)
    return ends


def _may_grow(form: Form, text: str) -> bool:
    return any(
        option.startswith(text[start:]) for part, starts in _steps(form, text) for start in starts for option in part
    )
