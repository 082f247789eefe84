"""Calls of functions as text: reading them as they come, and our own form, for models whose chats have none.

[TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]
"""

import json
import re
import secrets
import string
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.text import Text, checked
from models.mixtral8x7b.tokenizer import CallForm

OWN = CallForm('[TOOL_CALLS][{"name": "', '", "arguments": ', '}, {"name": "', "}]")
RESULTS = "[TOOL_RESULTS]"
ID_LENGTH = 9  # what Mistral's templates take


class CalledFunction(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    name: Text
    arguments: Text


class Call(BaseModel):
    """Of an earlier answer."""

    model_config = ConfigDict(strict=True, extra="allow")
    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction

    def told(self) -> dict[str, Any]:
        """As templates take it. Raises ApiError for arguments that are no object."""
        arguments = _value(self.function.arguments)
        if not isinstance(arguments, dict):
            message = f"the arguments of the call {self.id[:40]!r} are no JSON object; expected what the answer had"
            raise ApiError(message, param="messages")
        return {"id": self.id, "type": "function", "function": {"name": self.function.name, "arguments": arguments}}


def told_calls(calls: Sequence[Call]) -> str:
    """An earlier answer's calls, as the model made them in our own form."""
    functions = [{"name": one.function.name, "arguments": _value(one.function.arguments)} for one in calls]
    return OWN.mark + json.dumps(functions, ensure_ascii=False)


def told_result(call_id: str | None, content: str) -> str:
    """What a function has returned, as the model is told in our own form."""
    return f"{RESULTS} {json.dumps({'call_id': call_id, 'content': content}, ensure_ascii=False)}"


class CallReader:
    """Tells the calls of one answer from its text, as it comes."""

    def __init__(self, form: CallForm) -> None:
        self._form = form
        self._held, self._is_text = "", False

    def feed(self, text: str, is_last: bool) -> tuple[str, list[dict[str, Any]]]:
        """(the text that is certain to be text, the calls, when they are whole). Calls that were cut off are text."""
        if self._is_text:
            return text, []
        self._held += text
        begun, mark = self._held.removeprefix(" "), self._form.mark
        if is_last and (calls := _calls_in(begun, self._form)):
            return "", calls
        if not is_last and (begun.startswith(mark) or mark.startswith(begun)):
            return "", []
        self._is_text = True
        return self._held, []


def _calls_in(text: str, form: CallForm) -> list[dict[str, Any]]:
    """In OpenAI's form; none where it is text, or was cut off."""
    calls = []
    place = _behind(text, 0, form.begin)
    while place is not None:
        function: dict[str, Any] = {}
        for field in ("name", "arguments") if form.name_first else ("arguments", "name"):
            if function and (place := _behind(text, place, form.inside)) is None:
                return []
            try:
                function[field], place = _FIELDS[field](text, place)
            except ValueError:
                return []
        call_id = _new_id()
        if form.around_id and (given := re.compile(_ID.join(map(_loose, form.around_id))).match(text, place)):
            call_id, place = given[1], given.end()
        calls.append({"id": call_id, "type": "function", "function": function})
        if _behind(text, place, form.end) == len(text):
            return calls
        place = None if form.between is None else _behind(text, place, form.between)
    return []


_ID = "([a-zA-Z0-9]+)"


def _name(text: str, place: int) -> tuple[str, int]:
    found = re.compile(r"[a-zA-Z0-9_-]+").match(text, place)
    if found is None:
        raise ValueError
    return found[0], found.end()


def _arguments(text: str, place: int) -> tuple[str, int]:
    value, end = json.JSONDecoder().raw_decode(text, place)
    return json.dumps(value, ensure_ascii=False), end


_FIELDS = {"name": _name, "arguments": _arguments}


def _behind(text: str, place: int, literal: str) -> int | None:
    """Where the text goes on behind the literal; None: it does not stand there."""
    found = re.compile(_loose(literal)).match(text, place)
    return found.end() if found else None


def _loose(literal: str) -> str:
    """A regular expression: a space behind a control token is none in its text."""
    return r"\s*".join(map(re.escape, re.split(r"\s+", literal)))


def _new_id() -> str:
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(ID_LENGTH))


def _value(arguments: str) -> Any:
    try:
        return checked(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments
