"""Who says what in a chat."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from models.mixtral8x7b.tokenizer.errors import ChatError, shown

USER, ASSISTANT, SYSTEM = ROLES = ("user", "assistant", "system")
BETWEEN = "\n\n"  # a blank line: between texts of one role, and behind a system prompt


@dataclass(frozen=True)
class Message:
    role: str
    content: str


def messages_of(turns: Sequence[str] | Sequence[Mapping[str, str]]) -> list[Message]:
    """Turns without roles are the user's and the assistant's by turns. Raises ChatError unless the user is the last."""
    texts = [turn for turn in turns if isinstance(turn, str)]
    if texts and len(texts) == len(turns):
        if len(turns) % 2 == 0:
            raise ChatError(f"a chat has {len(turns)} turns; expected an odd number: the user has the last word")
        return [Message(ASSISTANT if number % 2 else USER, text) for number, text in enumerate(texts)]
    messages = [_message(number, turn) for number, turn in enumerate(turns, start=1)]
    if not messages or messages[-1].role != USER:
        last = f"ends with the {messages[-1].role}'s" if messages else "has no"
        raise ChatError(f"a chat {last} message; expected that the user has the last word")
    return messages


def _message(number: int, turn: object) -> Message:
    if not isinstance(turn, Mapping):
        raise ChatError(f"message {number} of a chat is {_kind(turn)}; expected a role and a content")
    role, content = turn.get("role"), turn.get("content")
    if role not in ROLES:
        raise ChatError(f"message {number} of a chat has the role {shown(role)}; expected one of {', '.join(ROLES)}")
    if not isinstance(content, str):
        raise ChatError(f"message {number} of a chat has {_kind(content)} for content; expected text")
    return Message(role, content)


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def system_prompt(messages: Sequence[Message]) -> str:
    """All of them, wherever they stand; empty if there is none."""
    return _join(message.content for message in messages if message.role == SYSTEM)


def alternating(messages: Sequence[Message]) -> list[Message]:
    """User, assistant, user, ...: neighbours of one role joined, system prompts left out."""
    said = [message for message in messages if message.role != SYSTEM]
    joined = [Message(role, _join(m.content for m in group)) for role, group in groupby(said, key=lambda m: m.role)]
    return joined if joined[0].role == USER else [Message(USER, ""), *joined]


def with_prompt(message: Message, prompt: str) -> Message:
    return Message(message.role, prompt + BETWEEN + message.content) if prompt else message


def _join(texts: Iterable[str]) -> str:
    return BETWEEN.join(filter(None, texts))
