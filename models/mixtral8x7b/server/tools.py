"""Functions that an answer may call: how the model is told of them, and that it calls no others.

The grammar sees to it: every name is one of them and all arguments are of its schema. Where the chat's form has none
for tools, as Mixtral 8x7B's, what functions there are is told in the system prompt.
"""

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.server.calls import OWN, RESULTS
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.grammar import Grammars, Matcher, with_little_space
from models.mixtral8x7b.server.text import AnyObject, Text
from models.mixtral8x7b.tokenizer import Tokenizer

ID = "/[a-zA-Z0-9]{9}/"
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


class Tools(NamedTuple):
    """Those that one request's answers may call. needs_call: an answer is a call, not text."""

    functions: list[Function]
    needs_call: bool
    one_call: bool

    def told(self) -> list[dict[str, Any]]:
        """As templates take them."""
        return [{"type": "function", "function": one.model_dump(exclude_none=True)} for one in self.functions]

    def system_prompt(self) -> dict[str, str]:
        functions = "\n".join(json.dumps(one["function"], ensure_ascii=False) for one in self.told())
        return {"role": "system", "content": _TOLD.format(functions=functions, mark=OWN.mark, results=RESULTS)}

    def grammar(self, grammars: Grammars, tokenizer: Tokenizer) -> Callable[[], Matcher]:
        """Raises ApiError for parameters that are no schema."""
        form = tokenizer.call_form or OWN

        def lark(text: str) -> str:
            parts = [text] if form is OWN else tokenizer.parts(text)
            return " ".join(f"<[{part}]>" if isinstance(part, int) else json.dumps(part) for part in parts)

        several = "" if self.one_call or form.between is None else f" ({lark(form.between)} call)*"
        rules = [
            "start: calls" if self.needs_call else "start: calls | TEXT",
            f"calls: begin call{several} {lark(form.end)}",
            f"begin: {lark(form.begin)}"
            if lark(form.begin).startswith("<")
            else f'begin: BEGIN\nBEGIN: " "? {lark(form.begin)}',
            "call: " + " | ".join(f"call_{number}" for number in range(len(self.functions))),
        ]
        for number, one in enumerate(self.functions):
            parameters = one.parameters or NO_PARAMETERS
            grammars.of_schema("tools", parameters)  # what is wrong with it is told of it alone
            fields = [json.dumps(one.name), f"%json {json.dumps(with_little_space(parameters))}"]
            first, second = fields if form.name_first else reversed(fields)
            rule = f"call_{number}: {first} {lark(form.inside)} {second}"
            if form.around_id:
                rule += f" ({lark(form.around_id[0])} {ID} {lark(form.around_id[1])})?"
            rules.append(rule)
        if not self.needs_call:
            rules += ["TEXT: /(?s:.*)/ & ~MARKED", f'MARKED: " "? {json.dumps(form.mark)} /(?s:.*)/']
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
