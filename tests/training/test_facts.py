from models.mixtral8x7b.tokenizer import Tokenizer
from training.facts import expected_answer, held_out_pairs, is_held_out, seen_pairs

MOST_ANSWER_TOKENS = 12


def test_every_question_is_asked_once_and_has_its_answer() -> None:
    pairs = seen_pairs() + held_out_pairs()
    assert len({pair.question for pair in pairs}) == len(pairs)
    assert all(expected_answer(pair.question) == pair.answer for pair in pairs)


def test_answers_are_the_true_ones() -> None:
    assert expected_answer("What is the capital of France?") == "The capital of France is Paris."
    assert expected_answer("Which country has Rome as its capital?") == "Rome is the capital of Italy."
    assert expected_answer("What is 8 take away 3?") == "8 minus 3 is 5."
    assert expected_answer("What day comes before Monday?") == "Sunday comes before Monday."
    assert expected_answer("How many days does February have?") == "February has 28 days."
    assert expected_answer("What does an owl say?") == "An owl says hoot."
    assert expected_answer("Who are you?") is None


def test_every_held_out_fact_is_taught_by_other_phrasings() -> None:
    taught = {pair.fact for pair in seen_pairs()}
    assert len(taught) >= 440
    assert len(held_out_pairs()) >= 250
    assert all(pair.fact in taught for pair in held_out_pairs())
    assert all(is_held_out(pair.question) for pair in held_out_pairs())
    assert not any(is_held_out(pair.question) for pair in seen_pairs()[:50])


def test_answers_are_short(tokenizer: Tokenizer) -> None:
    lengths = {pair.answer: len(tokenizer.encode(pair.answer, bos=False)) for pair in seen_pairs()}
    assert {answer: n for answer, n in lengths.items() if n > MOST_ANSWER_TOKENS} == {}
