"""The tokenizer and the chat form, id by id against mistral-common, with Mixtral's real tokenizer model (its package
carries it) and with the tiny checkpoint's.
"""

from pathlib import Path

import mistral_common
import pytest
from mistral_common.protocol.instruct.messages import AssistantMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from models.mixtral8x7b.tokenizer import Tokenizer, TokenizerError

MIXTRAL = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
TINY = Path(__file__).resolve().parents[1] / "checkpoints" / "mixtral-tiny-instruct"
TEXTS = ("Hello", " two  leading spaces", "", "naïve café, 東京 🙂\n\tx", "trailing ", "[INST] in the text", "1234567")
CHATS = (
    ("Hi",),
    ("",),
    ("  spaces around  ",),
    ("What is 東京? 🙂",),
    ("Hi", "Hello.", "Who are you?"),
    ("a", " b", "c\n", "d", "  e"),
)


@pytest.fixture(scope="module", params=[MIXTRAL, TINY], ids=["mixtral", "tiny"])
def tokenizer(request) -> Tokenizer:
    return Tokenizer(request.param)


@pytest.mark.parametrize("turns", CHATS)
def test_chat_form_equals_mistral_common(turns: tuple[str, ...]) -> None:
    messages = [
        UserMessage(content=text) if number % 2 == 0 else AssistantMessage(content=text)
        for number, text in enumerate(turns)
    ]
    theirs = MistralTokenizer.v1().encode_chat_completion(ChatCompletionRequest(messages=messages))
    assert Tokenizer(MIXTRAL).encode_chat(turns) == theirs.tokens


def test_chat_form_of_mixtral_is_the_known_one() -> None:
    assert Tokenizer(MIXTRAL).encode_chat(["Hi"]) == [1, 733, 16289, 28793, 15359, 733, 28748, 16289, 28793]


def test_a_chat_ends_with_the_user() -> None:
    with pytest.raises(ValueError, match="2 turns; expected an odd number"):
        Tokenizer(MIXTRAL).encode_chat(["Hi", "Hello."])


@pytest.mark.parametrize("text", TEXTS)
def test_decode_undoes_encode(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_id == 1
    assert tokenizer.encode(text, bos=False) == ids[1:]
    assert tokenizer.decode([*ids, tokenizer.eos_id]) == text


@pytest.mark.parametrize("text", TEXTS)
def test_streamed_text_joins_to_the_whole_and_never_shows_half_a_character(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    stream = tokenizer.stream()
    pieces = [stream.push(i) for i in ids]
    assert not any("�" in piece for piece in pieces)
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids)


def test_a_stream_cut_inside_a_character_shows_it_only_at_the_end(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("x 🙂🙃")[:-1]
    stream = tokenizer.stream()
    pieces = [stream.push(i) for i in ids]
    assert not any("�" in piece for piece in pieces)
    assert "".join(pieces) + stream.flush() == tokenizer.decode(ids)


def test_missing_unreadable_and_foreign_tokenizers_are_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="tokenizer.model is missing"):
        Tokenizer(tmp_path)
    (tmp_path / "tokenizer.model").write_text("hello")
    with pytest.raises(TokenizerError, match="not a sentencepiece model"):
        Tokenizer(tmp_path)
    with pytest.raises(TokenizerError, match="has 32000 pieces; the model has a vocabulary of 1024"):
        Tokenizer(MIXTRAL).check_vocab_size(1024)
