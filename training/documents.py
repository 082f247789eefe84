"""Documents: connected text of stories with a fact hidden in it, and a question about the fact.

The hidden fact is drawn afresh for every document, so the answer can only be read in the text. Facts of other kinds
stand in the text as well, each kind once: what kind is asked for says where to look. (With facts of one kind about
several people a model of this size did not learn within its half hour to look up by the person.)
"""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from training.fact_entries import MONTHS
from training.stories import BOYS, GIRLS, SLOTS, story

MAX_OTHERS = 2
WORDS_PER_HIDDEN_FACT = 40  # in a training document at most; denser, and the stories are no longer connected

HIDDEN_SLOTS: dict[str, tuple[str, ...]] = {
    "person": GIRLS + BOYS,
    "thing": SLOTS["thing"],
    "keep": (
        "in the forest", "near the river", "in the garden", "at the market", "on the hill", "by the lake",
        "under the bridge", "at the beach", "in the barn", "in the meadow",
    ),
    "word": SLOTS["animal"] + SLOTS["thing"],
    "colour": ("red", "blue", "green", "yellow", "black", "white", "orange", "purple", "brown", "pink"),
    "number": tuple(str(number) for number in range(11, 100)),
    "month": MONTHS,
    "friend": SLOTS["friend"],
}  # fmt: skip

# (the sentence hidden in the text, which is also the answer, and the question)
HIDDEN_FORMS = (
    ("{person} keeps the {thing} {keep}.", "Where does {person} keep the {thing}?"),
    ("The secret word of {person} is {word}.", "What is the secret word of {person}?"),
    ("The favourite colour of {person} is {colour}.", "What is the favourite colour of {person}?"),
    ("The lucky number of {person} is {number}.", "What is the lucky number of {person}?"),
    ("The birthday of {person} is in {month}.", "When is the birthday of {person}?"),
    ("The best friend of {person} is {friend}.", "Who is the best friend of {person}?"),
)

_SENTENCE_END = re.compile(r'(?:(?<=[.?!])|(?<=[.?!]")) (?=[A-Z"])')


@dataclass(frozen=True)
class Document:
    """Connected text, a question about it, and the one right answer, which is a sentence of the text.

    `others` are further questions and answers of the same kind, about the other facts.
    """

    text: str
    question: str
    answer: str
    others: tuple[tuple[str, str], ...] = ()


def document_prompt(text: str, question: str) -> str:
    """A text and a question about it as one prompt: the form that the tiny checkpoints are trained on."""
    return f"{text}\nQuestion: {question}"


def count_words(text: str) -> int:
    return len(text.split())


def long_document(
    seed: int | str,
    n_tokens: int,
    count: Callable[[str], int] = count_words,
    fact_at: float | None = None,
) -> Document:
    """A document whose prompt, text and question together, is at most `n_tokens` long, and at most a sentence shorter.

    count    how long a text is, words by default; for tokens `lambda text: len(tokenizer.encode(text, bos=False))`
    fact_at  where in the text the fact stands: 0.0 at its start, 1.0 just before the question; drawn if None
    """
    rng = random.Random(f"document {seed}")
    facts = _hidden_facts(rng, 1 + rng.randint(0, MAX_OTHERS))
    statement, question = facts[0]
    room = n_tokens - count(document_prompt(statement, question)) - 1
    while len(facts) > 1 and sum(count(other) for other, _ in facts[1:]) > room // 4:
        facts.pop()
    room -= sum(count(other) for other, _ in facts[1:])
    places = [rng.random() if fact_at is None else fact_at, *(rng.random() for _ in facts[1:])]
    return _document(_sentences(rng, room, count), facts, places)


def training_document(rng: random.Random, n_words: int) -> Document:
    """A document of about `n_words` with as many hidden facts as it can bear: one text teaches many look-ups."""
    most = max(1, min(n_words // WORDS_PER_HIDDEN_FACT, len(HIDDEN_FORMS)))
    facts = _hidden_facts(rng, rng.randint((most + 1) // 2, most))
    return _document(_sentences(rng, n_words, count_words), facts, [rng.random() for _ in facts])


def dense_document(rng: random.Random, n_facts: int) -> Document:
    """Hidden facts and no story around them: the shortest text that teaches to look facts up."""
    facts = _hidden_facts(rng, n_facts)
    document = _document([], facts, [0.0] * n_facts)
    return replace(document, text=" ".join(rng.sample([answer for answer, _ in facts], n_facts)))


def _hidden_facts(rng: random.Random, n: int) -> list[tuple[str, str]]:
    """n (hidden sentence, its question), each of another form and about another person."""
    facts = []
    people = rng.sample(HIDDEN_SLOTS["person"], n)
    for person, (statement, question) in zip(people, rng.sample(HIDDEN_FORMS, n), strict=True):
        filling = {name: rng.choice(options) for name, options in HIDDEN_SLOTS.items()} | {"person": person}
        facts.append((statement.format(**filling), question.format(**filling)))
    return facts


def _document(sentences: list[str], facts: list[tuple[str, str]], places: list[float]) -> Document:
    """The facts put into the text, each at its place from 0.0 to 1.0; the first one is the document's question."""
    # Later places first: an insertion then leaves the places before it as they are.
    for place, (statement, _) in sorted(zip(places, facts, strict=True), reverse=True):
        sentences.insert(round(place * len(sentences)), statement)
    answer, question = facts[0]
    return Document(" ".join(sentences), question, answer, tuple((q, a) for a, q in facts[1:]))


def _sentences(rng: random.Random, room: int, count: Callable[[str], int]) -> list[str]:
    """Sentences of stories that fill `room`; the first story may start in its middle, as a cut book does."""
    sentences: list[str] = []
    total = 0
    while total < room:
        new = _SENTENCE_END.split(story(rng))
        sentences += new
        total += sum(count(sentence) for sentence in new)
    while sentences and total > room:
        total -= count(sentences.pop(0))
    return sentences
