"""Facts asked and answered: every (fact, phrasing) pair, which of them are held out, the right answer to a question.

A held-out pair never occurs in any training text: its fact is taught by other phrasings, its phrasing by other facts.
So a right answer to it cannot be a remembered row.
"""

import random
from dataclasses import dataclass
from functools import cache

from training.fact_tables import RELATIONS, Relation

HELD_OUT_SEED = "held out"
HELD_OUT_SHARE = 0.6  # of the facts have one phrasing held out


@dataclass(frozen=True)
class Pair:
    """One fact in one phrasing. `fact` identifies the fact: the same for all its phrasings."""

    fact: str
    question: str
    answer: str


def _sentence(template: str, entry: tuple[str, ...]) -> str:
    """The template filled in, its first letter a capital: "{0} says {1}." and ("a cow", "moo") -> "A cow says moo."."""
    text = template.format(*entry)
    return text[0].upper() + text[1:]


def _pairs_of_fact(relation: Relation, entry: tuple[str, ...]) -> list[Pair]:
    fact = f"{relation.name}: {' '.join(entry)}"
    answer = _sentence(relation.answer, entry)
    return [Pair(fact, _sentence(phrasing, entry), answer) for phrasing in relation.phrasings]


@cache
def _split() -> tuple[tuple[Pair, ...], tuple[Pair, ...]]:
    """(seen pairs, held-out pairs). Phrasings take turns at being held out, so that each relation loses all kinds."""
    rng = random.Random(HELD_OUT_SEED)
    seen: list[Pair] = []
    held_out: list[Pair] = []
    for relation in RELATIONS:
        order = rng.sample(range(len(relation.entries)), len(relation.entries))
        n_held_out = round(HELD_OUT_SHARE * len(order))
        for rank, index in enumerate(order):
            pairs = _pairs_of_fact(relation, relation.entries[index])
            if rank < n_held_out:
                held_out.append(pairs.pop(rank % len(pairs)))
            seen.extend(pairs)
    return tuple(seen), tuple(held_out)


def seen_pairs() -> tuple[Pair, ...]:
    """The pairs that training texts may contain."""
    return _split()[0]


def held_out_pairs() -> tuple[Pair, ...]:
    """The pairs that no training text contains."""
    return _split()[1]


@cache
def _answers() -> dict[str, str]:
    return {pair.question: pair.answer for pair in seen_pairs() + held_out_pairs()}


def expected_answer(question: str) -> str | None:
    """The one right answer to a question, word for word, or None if the fact tables do not know the question."""
    return _answers().get(question)


def is_held_out(question: str) -> bool:
    """Whether training texts never contain this question."""
    return any(pair.question == question for pair in held_out_pairs())
