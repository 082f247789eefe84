from itertools import islice

import pytest

from training.corpus import rows
from training.grammar import is_beginning, read, reads_on


def test_reads_every_row_of_the_base_corpus() -> None:
    for row in islice(rows("base", 7, 10**6), 300):
        assert read(row.text)[1] == ""


def test_counts_sentences_and_returns_the_rest() -> None:
    assert read("A cow says moo. The fox looked hungry. Hello") == (2, "Hello")
    assert read("") == (0, "")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Once upon a ti",
        '"Hello," said Mia, "why are you so sad?" Pip was very',
        "The secret word of Tom is fox. Question: What is the secret word of Tom?\nAnswer: The secret",
        "Question: What is the capital of France?\nAnswer: The capital of France is Paris.",
    ],
)
def test_accepts_sentences_and_an_unfinished_one(text: str) -> None:
    assert reads_on(text)


@pytest.mark.parametrize(
    "text",
    [
        "The capital of France is Rome.",
        "Mia went the to forest.",
        "Tom was very sad. He green the",
        "Once upon a time, a kind girl named Mia lived in a small a small",
        "The fox was very",
    ],
)
def test_refuses_anything_else(text: str) -> None:
    assert not reads_on(text)


def test_a_beginning_may_end_inside_a_word() -> None:
    assert is_beginning("Long ago, there was a kin")
    assert not is_beginning("Long ago, there was a king")
