"""Mistral's own tokenizers, id by id against mistral-common (its package carries them), and the tiny checkpoint's."""

from pathlib import Path

import pytest
from mistral_common.protocol.instruct.messages import AssistantMessage, SystemMessage, UserMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

from models.mixtral8x7b.tokenizer import Tokenizer, TokenizerError
from tests.tokenizer.makers import TEXTS, TINY, V1, V2, V3, V7, said

CHATS = (
    ("Hi",),
    ("",),
    ("  spaces around  ",),
    ("What is 東京? 🙂",),
    ("Hi", "Hello.", "Who are you?"),
    ("a", " b", "c\n", "d ", "  e"),
    ("[INST] x [/INST] </s>[TOOL_CALLS]", "<s> [/INST]", "[control_8]"),
)
WITH_ROLES = (
    said("system: Be brief.", "user: Hi"),
    said("system: Be brief.", "user: Hi", "assistant: Hello.", "user: Who?"),
    said("user: Hi", "user: there", "assistant: Hello.", "assistant: You.", "user: Who?", "user: Why?"),
    said("system: One.", "system: Two.", "user: Hi"),
    said("user: Hi", "assistant: Hello.", "system: Be brief.", "user: Who?"),
    said("system: ", "user: ", "user: Hi", "user: "),
)
MESSAGES = {"user": UserMessage, "assistant": AssistantMessage, "system": SystemMessage}


@pytest.fixture(scope="module", params=[V1, V2, V3, TINY], ids=["v1", "v2", "v3", "tiny"])
def tokenizer(request) -> Tokenizer:
    return Tokenizer(request.param)


@pytest.fixture(scope="module", params=[V1, V2, V3], ids=["v1", "v2", "v3"])
def pair(request) -> tuple[Tokenizer, MistralTokenizer]:
    return Tokenizer(request.param), MistralTokenizer.from_file(str(request.param))


def theirs(tokenizer: MistralTokenizer, messages: list[dict[str, str]]) -> list[int]:
    """By their instruct tokenizer; its validator alone forbids some orders of roles that it can encode."""
    request = ChatCompletionRequest(messages=[MESSAGES[m["role"]](content=m["content"]) for m in messages])
    normal = tokenizer._instruct_request_normalizer.from_chat_completion_request(request)
    return tokenizer.instruct_tokenizer.encode_instruct(normal).tokens


@pytest.mark.parametrize("turns", CHATS)
def test_chat_form_equals_mistral_common(pair, turns: tuple[str, ...]) -> None:
    messages = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(turns)]
    assert pair[0].encode_chat(turns) == theirs(pair[1], messages)
    assert pair[0].encode_chat(messages) == pair[0].encode_chat(turns)


@pytest.mark.parametrize("messages", WITH_ROLES, ids=range(len(WITH_ROLES)))
def test_system_prompts_and_repeated_roles_equal_mistral_common(pair, messages) -> None:
    assert pair[0].encode_chat(messages) == theirs(pair[1], messages)


def test_chat_forms_are_the_known_ones() -> None:
    assert Tokenizer(V1).encode_chat(["Hi"]) == [1, 733, 16289, 28793, 15359, 733, 28748, 16289, 28793]
    for newer in (V2, V3):
        assert Tokenizer(newer).encode_chat(["Hi"]) == [1, 3, 16127, 4]
    chat = Tokenizer(V3).encode_chat(["Hi", "Hello.", "Who?"])
    assert chat == [1, 3, 16127, 4, 23325, 29491, 2, 3, 7294, 29572, 4]


def test_text_that_looks_like_a_control_token_stays_text(tokenizer: Tokenizer) -> None:
    for text in ("[INST] a [/INST]", "<s>a</s>", "<unk>"):
        ids = tokenizer.encode(text, bos=False)
        assert min(ids) > 2
        assert tokenizer.decode(ids) == text
        assert not {3, 4} & set(Tokenizer(V3).encode_chat([text])[2:-1])


def test_the_tokenizer_says_how_many_ids_it_has_and_where_a_text_ends(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size in (1024, 32000, 32768)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.stop_ids) == (1, 2, {2})


def test_a_tokenizer_of_another_form_chats_with_nobody() -> None:
    tokenizer = Tokenizer(V7)
    assert tokenizer.decode(tokenizer.encode("Hello")) == "Hello"
    with pytest.raises(TokenizerError, match=r"control token \[SYSTEM_PROMPT\].*put its tokenizer_config.json"):
        tokenizer.encode_chat(["Hi"])


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (["Hi", "Hello."], "2 turns; expected an odd number"),
        ([], "has no message; expected that the user has the last word"),
        (said("user: Hi", "assistant: Hello."), "ends with the assistant's message"),
        (said("tool: Hi"), "message 1 of a chat has the role 'tool'; expected one of user, assistant, system"),
        ([{"role": "user", "content": ["Hi"]}], "has a list for content; expected text"),
        ([{"role": "user", "content": "Hi"}, "Hi"], "message 2 of a chat is a str; expected a role"),
    ],
)
def test_a_chat_that_nobody_can_answer_is_refused(chat, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tokenizer(V1).encode_chat(chat)


@pytest.mark.parametrize("text", TEXTS)
def test_decode_undoes_encode(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert ids[0] == tokenizer.bos_id == 1
    assert tokenizer.encode(text, bos=False) == ids[1:]
    assert tokenizer.decode([*ids, tokenizer.eos_id]) == text


@pytest.mark.parametrize("name", ["tokenizer.model.v3", "tokenizer.model"])
def test_a_folder_is_enough(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(V3.read_bytes())
    assert Tokenizer(tmp_path).file == tmp_path / name
    assert Tokenizer(tmp_path).encode_chat(["Hi"]) == [1, 3, 16127, 4]
