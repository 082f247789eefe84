"""Text that stands behind other text: as ids, as bytes, and as it is told."""

import pytest

from models.mixtral8x7b.tokenizer import Tokenizer
from tests.tokenizer.test_stream import tokenizer  # noqa: F401 a fixture

TEXTS = ("x", " two  spaces ", "{", '{"a": "b"}', "naïve café", "東京 🙂\n\tx", "\n", "[INST] 12", "")


@pytest.mark.parametrize("text", TEXTS)
def test_no_space_is_put_before_it(tokenizer: Tokenizer, text: str) -> None:
    before = tokenizer.encode("a", bos=False)
    ids = tokenizer.encode_inside(text)
    assert tokenizer.decode(before + ids) == "a" + text


@pytest.mark.parametrize("text", TEXTS)
def test_the_bytes_of_its_tokens_are_the_texts(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode_inside(text)
    assert (
        b"".join(map(tokenizer.token_bytes, ids)).decode() == tokenizer.decode(tokenizer.encode("a", False) + ids)[1:]
    )


def test_bytes_of_control_tokens_are_their_names(tokenizer: Tokenizer) -> None:
    assert tokenizer.token_bytes(tokenizer.eos_id) == b"</s>"
    assert tokenizer.eos_id in tokenizer.control_ids
    assert all(tokenizer.decode([token]) == "" for token in tokenizer.control_ids)


def test_an_answer_goes_on_with_a_text(tokenizer: Tokenizer) -> None:
    """Wherever the text is cut, together they are the whole."""
    ids = tokenizer.encode("Once upon a time, naïve 東京 🙂 foxes  ran.\n And then", bos=False)
    whole = tokenizer.decode(ids)
    for cut in range(1, len(ids)):
        before = tokenizer.decode(ids[:cut])
        answer = tokenizer.answer(after=ids[:cut])
        told = "".join(map(answer.push, ids[cut:])) + answer.finish()
        assert "\ufffd" in before or before + told == whole
