"""Who says what in a chat."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from models.mixtral8x7b.tokenizer.errors import ChatError, shown

USER, ASSISTANT, SYSTEM = ROLES = ("user", "assistant", "system")
TOOL = "tool"  # of what a function has returned; a role only where a chat's form has one for tools
BETWEEN = "\n\n"  # a blank line: between texts of one role, and behind a system prompt


@dataclass(frozen=True)
class Message:
    """What somebody says.

    calls      of functions, by the assistant: each {"id", "type", "function": {"name", "arguments": {...}}}
    call_id    of a tool: of the call that has returned this
    """

    role: str
    content: str
    calls: tuple[Mapping[str, Any], ...] = ()
    call_id: str | None = None


def messages_of(turns: Sequence[str] | Sequence[Mapping[str, Any]], has_tools: bool = False) -> list[Message]:
    """Turns without roles are the user's and the assistant's by turns. has_tools: messages may be calls and results.

    Raises ChatError for what is no chat.
    """
    texts = [turn for turn in turns if isinstance(turn, str)]
    if texts and len(texts) == len(turns):
        if len(turns) % 2 == 0:
            raise ChatError(f"a chat has {len(turns)} turns; expected an odd number: the user has the last word")
        return [Message(ASSISTANT if number % 2 else USER, text) for number, text in enumerate(texts)]
    roles = (*ROLES, TOOL) if has_tools else ROLES
    messages = [_message(number, turn, roles) for number, turn in enumerate(turns, start=1)]
    if not messages:
        raise ChatError("a chat has no message; expected that the user has the last word")
    return messages


def check_last(messages: Sequence[Message], add_generation_prompt: bool, continue_final_message: bool) -> None:
    """Raises ChatError where the wrong one has the last word for what is to follow."""
    last = messages[-1]
    if continue_final_message:
        if last.role != ASSISTANT or last.calls or not last.content.strip():
            raise ChatError(
                f"a chat that is to be continued ends with the {last.role}'s message; "
                "expected that the assistant has the last word, and that it is some text"
            )
    elif add_generation_prompt and last.role not in (USER, TOOL):
        raise ChatError(f"a chat ends with the {last.role}'s message; expected that the user has the last word")


def _message(number: int, turn: object, roles: Sequence[str]) -> Message:
    if not isinstance(turn, Mapping):
        raise ChatError(f"message {number} of a chat is {_kind(turn)}; expected a role and a content")
    role, content = turn.get("role"), turn.get("content")
    if role not in roles:
        raise ChatError(f"message {number} of a chat has the role {shown(role)}; expected one of {', '.join(roles)}")
    if not isinstance(content, str):
        raise ChatError(f"message {number} of a chat has {_kind(content)} for content; expected text")
    return Message(str(role), content, tuple(turn.get("tool_calls") or ()), turn.get("tool_call_id"))


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def system_prompt(messages: Sequence[Message]) -> str:
    """All of them, wherever they stand; empty if there is none."""
    return _join(message.content for message in messages if message.role == SYSTEM)


def alternating(messages: Sequence[Message]) -> list[Message]:
    """User, assistant, user, ...: neighbours of one role joined, system prompts left out. Calls and what they returned
    stay as they are."""
    said = [(message, number) for number, message in enumerate(messages) if message.role != SYSTEM]
    groups = [[m for m, _ in group] for _, group in groupby(said, key=_joins)]
    joined = [replace(group[0], content=_join(m.content for m in group)) for group in groups]
    return joined if joined and joined[0].role == USER else [Message(USER, ""), *joined]


def _joins(of: tuple[Message, int]) -> tuple[str, int]:
    message, number = of
    return message.role, number if message.calls or message.role == TOOL else -1


def with_prompt(message: Message, prompt: str) -> Message:
    return replace(message, content=prompt + BETWEEN + message.content) if prompt else message


def _join(texts: Iterable[str]) -> str:
    return BETWEEN.join(filter(None, texts))
