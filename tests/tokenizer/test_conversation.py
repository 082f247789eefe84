"""Chats of many turns: in the checkpoint's form, each prompt the beginning of the next, the oldest turns out first."""

import random
from itertools import pairwise, takewhile
from pathlib import Path

import pytest

from models.mixtral8x7b.tokenizer import ChatError, Conversation, Tokenizer
from models.mixtral8x7b.tokenizer.conversation import KEPT
from tests.tokenizer.makers import CHATML, MIXTRAL_FIRST, MIXTRAL_TODAY, TINY, V1, V2, V3, hugging_face, said

QUESTIONS = ("Hi", "What is 東京? 🙂", "  spaces ", "[INST] x </s>", "And now?")


@pytest.fixture(scope="module", params=["tiny", "v1", "v2", "v3", "chatml", "first", "today"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    files = {"tiny": TINY, "v1": V1, "v2": V2, "v3": V3}
    if request.param in files:
        return Tokenizer(files[request.param])
    template = {"chatml": CHATML, "first": MIXTRAL_FIRST, "today": MIXTRAL_TODAY}[request.param]
    folder: Path = tmp_path_factory.mktemp("tokenizer") / "folder"
    special = ("<|im_start|>", "<|im_end|>") if request.param == "chatml" else ()
    eos = {"eos_token": "<|im_end|>"} if request.param == "chatml" else {}
    return Tokenizer(hugging_face(folder, template=template, special=special, **eos))


def random_answer(tokenizer: Tokenizer, rng: random.Random) -> list[int]:
    """Ids that no text would be encoded to, with or without an end."""
    ids = [rng.randrange(3, tokenizer.vocab_size) for _ in range(rng.randrange(1, 20))]
    return [id for id in ids if id not in tokenizer.stop_ids] + rng.choice([[], [tokenizer.eos_id]])


def as_encoded(tokenizer: Tokenizer, messages: list[dict[str, str]], text: str) -> list[int]:
    """The ids of an answer in the middle of a chat, without its end."""
    asked = tokenizer.encode_chat(messages)
    ids = tokenizer.encode_chat([*messages, *said(f"assistant: {text}", "user: x")])
    if ids[: len(asked)] != asked:  # the system prompt moves
        return tokenizer.encode(text, bos=False)
    return list(takewhile(lambda id: id not in tokenizer.stop_ids, ids[len(asked) :]))


def test_answers_in_the_form_of_the_checkpoint(tokenizer: Tokenizer) -> None:
    """What is generated as text is encoded gives the chat as it is encoded at once."""
    for system in ("", "Be brief."):
        chat = Conversation(tokenizer, 10_000, system)
        for question in QUESTIONS:
            ids = chat.ask(question)
            assert ids == tokenizer.encode_chat(chat.messages)
            answer = as_encoded(tokenizer, chat.messages, "Hello, " + question.strip())
            chat.answered([*answer, tokenizer.eos_id], tokenizer.decode(answer))
        assert [message["content"] for message in chat.messages if message["role"] == "user"] == list(QUESTIONS)


def test_each_prompt_begins_with_the_last_one_and_its_answer(tokenizer: Tokenizer) -> None:
    rng = random.Random(0)
    for _ in range(3):
        chat, known = Conversation(tokenizer, 10_000), []
        for question in QUESTIONS:
            ids = chat.ask(question)
            encoded = tokenizer.encode_chat(chat.messages)
            assert ids[: len(known)] == known
            asked = tokenizer.encode_chat([question])
            assert ids[-1] == encoded[-1] == asked[-1]
            if known:
                assert ids[len(known)] in tokenizer.stop_ids
                assert ids[len(known) :] == encoded[-(len(ids) - len(known)) :], "behind the answer the form goes on"
            answer = random_answer(tokenizer, rng)
            chat.answered(answer, tokenizer.decode(answer))
            known = ids + [id for id in answer if id != tokenizer.eos_id]


def test_an_answer_that_was_cut_is_put_as_it_was_shown(tokenizer: Tokenizer) -> None:
    chat = Conversation(tokenizer, 10_000)
    chat.ask("Hi")
    chat.answered(tokenizer.encode("Hello. STOP it", bos=False), "Hello. ")
    assert chat.ask("Who?") == tokenizer.encode_chat(["Hi", "Hello. ", "Who?"])


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_the_oldest_turns_are_dropped_and_the_system_prompt_stays(tokenizer: Tokenizer, system: str) -> None:
    chat, most, dropped_at = Conversation(tokenizer, 150, system), 150, []
    for turn in range(25):
        n_dropped = chat.n_dropped
        ids = chat.ask(f"Question {turn}")
        assert len(ids) <= most
        users = [message["content"] for message in chat.messages if message["role"] == "user"]
        assert users == [f"Question {number}" for number in range(chat.n_dropped, turn + 1)]
        assert chat.messages[: bool(system)] == said("system: Be brief.")[: bool(system)]
        if chat.n_dropped > n_dropped:
            dropped_at.append(turn)
            assert ids == tokenizer.encode_chat(chat.messages)
            assert len(ids) <= KEPT * most
        answer = tokenizer.encode(f"Answer {turn}", bos=False)
        chat.answered(answer, tokenizer.decode(answer))
    assert len(dropped_at) >= 2
    assert all(later - earlier >= 2 for earlier, later in pairwise(dropped_at))


def test_a_question_without_room_is_refused_and_forgotten(tokenizer: Tokenizer) -> None:
    chat = Conversation(tokenizer, 60)
    chat.ask("Hi")
    chat.answered(as_encoded(tokenizer, chat.messages, "Hello."), "Hello.")
    with pytest.raises(
        ChatError, match=r"^the message has \d+ tokens with all that belongs to it; expected at most 60"
    ):
        chat.ask("x y z " * 40)
    assert chat.messages == said("user: Hi", "assistant: Hello.")
    assert chat.n_dropped == 0
    assert chat.ask("Who?") == tokenizer.encode_chat(["Hi", "Hello.", "Who?"])


def test_a_question_that_got_no_answer_stays(tokenizer: Tokenizer) -> None:
    chat = Conversation(tokenizer, 10_000)
    chat.ask("Hi")
    chat.answered(as_encoded(tokenizer, chat.messages, "Hello."), "Hello.")
    chat.ask("Who?")
    assert chat.ask("And why?") == tokenizer.encode_chat(
        said("user: Hi", "assistant: Hello.", "user: Who?", "user: And why?")
    )
    assert len(chat.messages) == 4


def test_questions_without_answers_are_dropped_too(tokenizer: Tokenizer) -> None:
    chat = Conversation(tokenizer, 150)
    for turn in range(40):
        assert len(chat.ask(f"Question {turn}")) <= 150
    assert chat.n_dropped > 0
    assert [message["content"] for message in chat.messages] == [f"Question {n}" for n in range(chat.n_dropped, 40)]
