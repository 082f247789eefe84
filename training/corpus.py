"""The seeded corpus of the two tiny checkpoints: rows of text, drawn from stories, facts and documents in given shares.

    base        plain text: stories, statements of facts, "Question: ... Answer: ..." lines, documents with questions
    instruct    the same things as conversations in Mixtral's chat form, and a few plain stories

The same flavour, seed and size give the same rows. No row contains a held-out (fact, phrasing) pair of `facts.py`.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from training.documents import Document, count_words, dense_document, document_prompt, training_document
from training.facts import Pair, seen_pairs
from training.stories import BOYS, GIRLS, story

FLAVOURS = ("base", "instruct")
DENSE_FACTS = (2, 6)
SHORT_DOCUMENT = (20, 130)  # words
LONG_DOCUMENT = (200, 1000)  # words, about 300 to 1800 tokens with its questions
STORY_REQUESTS = (
    "Tell me a story about {0}.",
    "Write a short story about {0}.",
    "Please tell a story about {0}.",
)


@dataclass(frozen=True)
class Row:
    """One training text in turns: given, wanted, given, wanted ... The model shall learn to say what is wanted.

    In a conversation these are the user's and the assistant's. In plain text they follow each other as they are; a
    story is the one wanted turn after an empty given one.
    """

    kind: str
    turns: tuple[str, ...]
    is_chat: bool

    @property
    def text(self) -> str:
        """All of a plain row."""
        return "".join(self.turns)


def rows(flavour: str, seed: int, n_words: int) -> Iterator[Row]:
    """Rows of at least `n_words` words altogether, each kind as near as possible to its share of the words."""
    rng = random.Random(f"corpus {flavour} {seed}")
    shares = SHARES[flavour]
    makers = _makers(flavour, rng)
    written = dict.fromkeys(shares, 0)
    total = 0
    while total < n_words:
        kind = min(shares, key=lambda k: written[k] / shares[k])
        turns = makers[kind]()
        row = Row(kind, turns, flavour == "instruct" and turns[0] != "")
        length = sum(count_words(turn) for turn in turns)
        written[kind] += length
        total += length
        yield row


SHARES: Mapping[str, Mapping[str, float]] = {  # of the words
    "base": {
        "story": 0.20,
        "statements": 0.04,
        "questions": 0.36,
        "story and question": 0.02,
        "dense document": 0.14,
        "short document": 0.14,
        "long document": 0.10,
    },
    "instruct": {
        "question": 0.42,
        "conversation": 0.13,
        "story and question": 0.04,
        "dense document": 0.08,
        "short document": 0.12,
        "long document": 0.12,
        "asked story": 0.05,
        "story": 0.04,
    },
}


def _makers(flavour: str, rng: random.Random) -> dict[str, Callable[[], tuple[str, ...]]]:
    """What writes the turns of a row of each kind."""
    deck = _deck(rng)

    def pairs(most: int) -> list[Pair]:
        return [next(deck) for _ in range(rng.randint(1, most))]

    def document(n_words: tuple[int, int]) -> tuple[str, ...]:
        return _turns_of(training_document(rng, rng.randint(*n_words)))

    def dense() -> tuple[str, ...]:
        return _turns_of(dense_document(rng, rng.randint(*DENSE_FACTS)))

    def asked_story() -> tuple[str, ...]:
        hero = rng.choice(GIRLS + BOYS)
        return rng.choice(STORY_REQUESTS).format(hero), story(rng, hero)

    def story_and_question() -> tuple[str, ...]:
        pair = next(deck)
        return document_prompt(story(rng), pair.question), pair.answer

    def ask(chosen: list[Pair]) -> tuple[str, ...]:
        return tuple(turn for pair in chosen for turn in (pair.question, pair.answer))

    chat: dict[str, Callable[[], tuple[str, ...]]] = {
        "question": lambda: ask(pairs(1)),
        "conversation": lambda: ask(pairs(3)),
        "story and question": story_and_question,
        "dense document": dense,
        "short document": lambda: document(SHORT_DOCUMENT),
        "long document": lambda: document(LONG_DOCUMENT),
        "asked story": asked_story,
        "story": lambda: ("", story(rng)),
    }
    if flavour == "instruct":
        return chat
    return {
        "story": lambda: ("", story(rng)),
        "statements": lambda: ("", " ".join(pair.answer for pair in pairs(6))),
        "questions": lambda: question_lines(ask(pairs(5))),
        "story and question": lambda: question_lines(story_and_question(), first=""),
        "dense document": lambda: question_lines(dense(), first=""),
        "short document": lambda: question_lines(document(SHORT_DOCUMENT), first=""),
        "long document": lambda: question_lines(document(LONG_DOCUMENT), first=""),
    }


def question_lines(turns: tuple[str, ...], first: str = "Question: ") -> tuple[str, ...]:
    """Questions and answers as turns of plain text: ("Question: Where?\\nAnswer:", " Here.", "\\nQuestion: ...", ...).

    `first` stands before the first question; "" if it brings its own, as a document's prompt does.
    """
    lines: list[str] = []
    for question, answer in zip(turns[::2], turns[1::2], strict=True):
        lines += [f"{first}{question}\nAnswer:", f" {answer}"]
        first = "\nQuestion: "
    return tuple(lines)


def _turns_of(document: Document) -> tuple[str, ...]:
    """The text with its first question, the answer, then the other questions and answers."""
    others = (turn for other in document.others for turn in other)
    return (document_prompt(document.text, document.question), document.answer, *others)


def _deck(rng: random.Random) -> Iterator[Pair]:
    """All seen pairs in random order, again and again: every pair comes equally often."""
    cards = list(seen_pairs())
    while True:
        rng.shuffle(cards)
        yield from cards
