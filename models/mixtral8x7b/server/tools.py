"""Functions that an answer may call: how the model is told of them, what a call looks like, and reading it back.

    [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Paris"}}]

The grammar sees to it: every name is one of them and all arguments are of its schema. Mixtral 8x7B was trained without
a form for this; what functions there are is told in the system prompt.
"""

import json
import uuid
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.grammar import Grammars, Matcher, with_little_space
from models.mixtral8x7b.server.text import AnyObject, Text, checked

MARK, RESULTS = "[TOOL_CALLS]", "[TOOL_RESULTS]"
NO_PARAMETERS = {"type": "object", "properties": {}, "additionalProperties": False}
_TOLD = """\
You may call these functions:
{functions}
To call some of them answer with {mark} and a JSON list, and with nothing else: \
{mark}[{{"name": "...", "arguments": {{...}}}}]. What they return is told after {results}."""
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]


class Function(BaseModel):
    """All that the model is told of it."""

    model_config = ConfigDict(strict=True, extra="ignore")
    name: Name
    description: Text | None = None
    parameters: AnyObject | None = None


class Tool(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["function"]
    function: Function


class FunctionName(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    name: str


class NamedTool(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["function"]
    function: FunctionName


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


class Tools(NamedTuple):
    """Those that one request's answers may call. needs_call: an answer is a call, not text."""

    functions: list[Function]
    needs_call: bool
    one_call: bool

    def told(self) -> dict[str, str]:
        """A system message."""
        functions = "\n".join(
            json.dumps(one.model_dump(exclude_none=True), ensure_ascii=False) for one in self.functions
        )
        return {"role": "system", "content": _TOLD.format(functions=functions, mark=MARK, results=RESULTS)}

    def grammar(self, grammars: Grammars) -> Callable[[], Matcher]:
        """Raises ApiError for parameters that are no schema."""
        several = "" if self.one_call else " (/, ?/ call)*"
        rules = [
            "start: calls" if self.needs_call else "start: calls | TEXT",
            f'calls: MARK "[" call{several} "]"',
            r"MARK: / ?\[TOOL_CALLS\]/",
            "call: " + " | ".join(f"call_{number}" for number in range(len(self.functions))),
        ]
        for number, one in enumerate(self.functions):
            parameters = one.parameters or NO_PARAMETERS
            grammars.of_schema("tools", parameters)  # what is wrong with it is told of it alone
            begin = json.dumps(f'{{"name": "{one.name}", "arguments": ')
            rules.append(f'call_{number}: {begin} %json {json.dumps(with_little_space(parameters))} "}}"')
        if not self.needs_call:
            rules.append(r"TEXT: /(?s:.*)/ & ~/ ?\[TOOL_CALLS\](?s:.*)/")
        return grammars.of_lark("tools", "\n".join(rules))


def tools_of(tools: Sequence[Tool] | None, choice: str | NamedTool | None, parallel: bool | None) -> Tools | None:
    """None: nothing can be called. Raises ApiError for what does not go together."""
    functions = [tool.function for tool in tools or ()]
    names = [one.name for one in functions]
    if len(set(names)) < len(names):
        raise ApiError("two tools have one name; give each function another", param="tools")
    named = choice.function.name if isinstance(choice, NamedTool) else None
    if named is not None and named not in names:
        raise ApiError(
            f"tool_choice names {named[:64]!r}, which is none of tools; choose one of them", param="tool_choice"
        )
    if choice == "required" and not functions:
        raise ApiError("tool_choice is required and there are no tools; give some", param="tool_choice")
    if choice == "none" or not functions:
        return None
    if named is not None:
        return Tools([one for one in functions if one.name == named], needs_call=True, one_call=True)
    return Tools(functions, choice == "required", parallel is False)


def told_calls(calls: Sequence[Call]) -> str:
    """An earlier answer's calls, as the model made them."""
    return MARK + json.dumps(
        [{"name": call.function.name, "arguments": _value(call.function.arguments)} for call in calls],
        ensure_ascii=False,
    )


def told_result(call_id: str | None, content: str) -> str:
    """What a function has returned, as the model is told."""
    return f"{RESULTS} {json.dumps({'call_id': call_id, 'content': content}, ensure_ascii=False)}"


class CallReader:
    """Tells the calls of one answer from its text, as it comes."""

    def __init__(self) -> None:
        self._held, self._is_text = "", False

    def feed(self, text: str, is_last: bool) -> tuple[str, list[dict[str, Any]]]:
        """(the text that is certain to be text, the calls, when they are whole). Calls that were cut off are text."""
        if self._is_text:
            return text, []
        self._held += text
        begun = self._held.removeprefix(" ")
        if is_last and (calls := _calls_in(begun)):
            return "", calls
        if not is_last and (begun.startswith(MARK) or MARK.startswith(begun)):
            return "", []
        self._is_text = True
        return self._held, []


def _calls_in(text: str) -> list[dict[str, Any]]:
    """In OpenAI's form; none where it is text, or was cut off."""
    if not text.startswith(MARK):
        return []
    try:
        calls = json.loads(text.removeprefix(MARK))
    except ValueError:
        return []
    return [
        {
            "id": f"call_{uuid.uuid4().hex[:24]}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"], ensure_ascii=False)},
        }
        for call in calls
    ]


def _value(arguments: str) -> Any:
    try:
        return checked(json.loads(arguments))
    except (ValueError, RecursionError):
        return arguments
