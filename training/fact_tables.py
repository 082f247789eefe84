"""The kinds of facts: how each is asked and answered. Data only; `facts.py` gives it a meaning.

Every question is sensible for any language model, and every answer is one short sentence, so that "exactly right" can
be decided by comparing text.
"""

from dataclasses import dataclass

from training.fact_entries import (
    BABIES,
    CAPITALS,
    COLOURS,
    CONTINENTS,
    DAYS,
    DIFFERENCES,
    HOMES,
    LANGUAGES,
    LEGS,
    MONTH_LENGTHS,
    MONTHS,
    OPPOSITES,
    PAST,
    PLURALS,
    SOUNDS,
    SUMS,
    Entries,
    neighbours,
    swapped,
)


@dataclass(frozen=True)
class Relation:
    """One kind of fact: `{0}`, `{1}` ... in a phrasing or in the answer stand for the fields of an entry."""

    name: str
    phrasings: tuple[str, ...]
    answer: str
    entries: Entries


RELATIONS = (
    Relation(
        "capital",
        (
            "What is the capital of {0}?",
            "Which city is the capital of {0}?",
            "Name the capital of {0}.",
            "Tell me the capital of {0}.",
            "What is the capital city of {0}?",
        ),
        "The capital of {0} is {1}.",
        CAPITALS,
    ),
    Relation(
        "country",
        (
            "Which country has {0} as its capital?",
            "{0} is the capital of which country?",
            "Of which country is {0} the capital?",
            "Name the country whose capital is {0}.",
            "What country is {0} the capital of?",
        ),
        "{0} is the capital of {1}.",
        swapped(CAPITALS),
    ),
    Relation(
        "continent",
        (
            "On which continent is {0}?",
            "Which continent is {0} in?",
            "Name the continent of {0}.",
            "What continent does {0} belong to?",
            "In which part of the world is {0}?",
        ),
        "{0} is in {1}.",
        CONTINENTS,
    ),
    Relation(
        "language",
        (
            "What language do people speak in {0}?",
            "Which language is spoken in {0}?",
            "Name the language of {0}.",
            "What do people in {0} speak?",
            "Tell me which language people speak in {0}.",
        ),
        "People in {0} speak {1}.",
        LANGUAGES,
    ),
    Relation(
        "opposite",
        (
            "What is the opposite of {0}?",
            "Which word is the opposite of {0}?",
            "Name the opposite of {0}.",
            "Tell me the opposite of {0}.",
            "What word means the opposite of {0}?",
        ),
        "The opposite of {0} is {1}.",
        OPPOSITES + swapped(OPPOSITES),
    ),
    Relation(
        "sum",
        (
            "What is {0} plus {1}?",
            "How much is {0} plus {1}?",
            "Add {0} and {1}.",
            "What is the sum of {0} and {1}?",
            "What do you get when you add {0} and {1}?",
        ),
        "{0} plus {1} is {2}.",
        SUMS,
    ),
    Relation(
        "difference",
        (
            "What is {0} minus {1}?",
            "How much is {0} minus {1}?",
            "What is {0} take away {1}?",
            "What is the difference between {0} and {1}?",
            "Start with {0} and take away {1}. What is left?",
        ),
        "{0} minus {1} is {2}.",
        DIFFERENCES,
    ),
    Relation(
        "day after",
        (
            "What day comes after {0}?",
            "Which day follows {0}?",
            "What is the day after {0}?",
            "Name the day after {0}.",
            "Tell me which day comes after {0}.",
        ),
        "{1} comes after {0}.",
        neighbours(DAYS, 1),
    ),
    Relation(
        "day before",
        (
            "What day comes before {0}?",
            "Which day is just before {0}?",
            "What is the day before {0}?",
            "Name the day before {0}.",
            "Tell me which day comes before {0}.",
        ),
        "{1} comes before {0}.",
        neighbours(DAYS, -1),
    ),
    Relation(
        "month after",
        (
            "What month comes after {0}?",
            "Which month follows {0}?",
            "What is the month after {0}?",
            "Name the month after {0}.",
            "Tell me which month comes after {0}.",
        ),
        "{1} comes after {0}.",
        neighbours(MONTHS, 1),
    ),
    Relation(
        "month before",
        (
            "What month comes before {0}?",
            "Which month is just before {0}?",
            "What is the month before {0}?",
            "Name the month before {0}.",
            "Tell me which month comes before {0}.",
        ),
        "{1} comes before {0}.",
        neighbours(MONTHS, -1),
    ),
    Relation(
        "month length",
        (
            "How many days does {0} have?",
            "How many days are there in {0}?",
            "How long is {0} in days?",
            "Tell me how many days {0} has.",
            "What is the number of days in {0}?",
        ),
        "{0} has {1} days.",
        MONTH_LENGTHS,
    ),
    Relation(
        "sound",
        (
            "What sound does {0} make?",
            "Which sound does {0} make?",
            "What does {0} say?",
            "Tell me the sound that {0} makes.",
            "Name the sound of {0}.",
        ),
        "{0} says {1}.",
        SOUNDS,
    ),
    Relation(
        "baby",
        (
            "What is a baby {0} called?",
            "What do we call a baby {0}?",
            "What is the name for a baby {0}?",
            "Which word means a baby {0}?",
            "Tell me the word for a baby {0}.",
        ),
        "A baby {0} is called {1}.",
        BABIES,
    ),
    Relation(
        "legs",
        (
            "How many legs does {0} have?",
            "What number of legs does {0} have?",
            "Tell me how many legs {0} has.",
            "On how many legs does {0} walk?",
            "Count the legs of {0}.",
        ),
        "{0} has {1} legs.",
        LEGS,
    ),
    Relation(
        "home",
        (
            "Where does {0} live?",
            "What is the home of {0}?",
            "In what kind of home does {0} live?",
            "Tell me where {0} lives.",
            "Name the home of {0}.",
        ),
        "{0} lives in {1}.",
        HOMES,
    ),
    Relation(
        "colour",
        (
            "What colour is {0}?",
            "Which colour is {0}?",
            "What is the colour of {0}?",
            "Tell me the colour of {0}.",
            "Name the colour of {0}.",
        ),
        "{0} is {1}.",
        COLOURS,
    ),
    Relation(
        "plural",
        (
            "What is the plural of {0}?",
            "Which word is the plural of {0}?",
            "Name the plural of {0}.",
            "What is the plural form of {0}?",
            "Tell me the plural of {0}.",
        ),
        "The plural of {0} is {1}.",
        PLURALS,
    ),
    Relation(
        "past tense",
        (
            "What is the past tense of {0}?",
            "Which word is the past tense of {0}?",
            "Name the past tense of {0}.",
            "Tell me the past tense of {0}.",
            "What is {0} in the past tense?",
        ),
        "The past tense of {0} is {1}.",
        PAST,
    ),
)
