import random

import pytest

from models.mixtral8x7b.tokenizer import Tokenizer
from training.documents import Document, count_words, document_prompt, long_document, training_document
from training.grammar import read


def is_sound(document: Document) -> bool:
    """The answer stands once in the text, and the text is whole sentences."""
    return document.text.count(document.answer) == 1 and read(document.text)[1] == ""


@pytest.mark.parametrize("n_tokens", [40, 128, 1000, 4096])
def test_a_document_fills_its_length_in_tokens(tokenizer: Tokenizer, n_tokens: int) -> None:
    for seed in range(5):
        document = long_document(seed, n_tokens, lambda text: len(tokenizer.encode(text, bos=False)))
        length = len(tokenizer.encode(document_prompt(document.text, document.question), bos=False))
        assert n_tokens - 50 <= length <= n_tokens
        assert is_sound(document)


def test_a_document_of_more_than_100k_tokens(tokenizer: Tokenizer) -> None:
    document = long_document("book", 110_000, lambda text: len(tokenizer.encode(text, bos=False)))
    assert len(tokenizer.encode(document.text)) > 105_000
    assert document.text.count(document.answer) == 1


@pytest.mark.parametrize("fact_at", [0.0, 0.5, 1.0])
def test_the_fact_stands_where_it_is_wanted(fact_at: float) -> None:
    document = long_document(3, 2000, fact_at=fact_at)
    before = count_words(document.text[: document.text.index(document.answer)])
    assert before / count_words(document.text) == pytest.approx(fact_at, abs=0.03)


def test_same_seed_same_document() -> None:
    assert long_document(1, 300) == long_document(1, 300)
    assert long_document(1, 300) != long_document(2, 300)


def test_training_documents_ask_about_each_of_their_facts() -> None:
    rng = random.Random(1)
    for n_words in (20, 100, 600):
        document = training_document(rng, n_words)
        assert is_sound(document)
        assert all(answer in document.text for _, answer in document.others)
        assert len(document.others) <= n_words // 60
        assert len({document.question, *(question for question, _ in document.others)}) == 1 + len(document.others)
