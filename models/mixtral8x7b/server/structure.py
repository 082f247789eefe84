"""response_format and structured_outputs: the two ways to ask for an answer of some form."""

import json
from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.grammar import ANY_OBJECT, Grammars, Matcher
from models.mixtral8x7b.server.text import AnyObject, SomeText, checked


class JsonSchema(BaseModel):
    """name, description and strict change nothing: every schema is kept to."""

    model_config = ConfigDict(strict=True, extra="allow")
    name: str | None = None
    json_schema: AnyObject | None = Field(default=None, alias="schema")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def grammar(self, grammars: Grammars) -> Callable[[], Matcher] | None:
        if self.type == "text":
            return None
        if self.type == "json_object":
            return grammars.of_schema("response_format", ANY_OBJECT)
        if self.json_schema is None:
            raise ApiError("response_format has no json_schema; expected one, with a schema", param="response_format")
        schema = self.json_schema.json_schema
        return grammars.of_schema("response_format", ANY_OBJECT if schema is None else schema)


class StructuredOutputs(BaseModel):
    """One of the four. grammar: in llguidance's form of Lark."""

    model_config = ConfigDict(strict=True, extra="forbid")
    json_: AnyObject | str | None = Field(default=None, alias="json")
    regex: SomeText | None = None
    choice: Annotated[list[SomeText], Field(min_length=1)] | None = None
    grammar_: SomeText | None = Field(default=None, alias="grammar")

    def grammar(self, grammars: Grammars) -> Callable[[], Matcher]:
        name = "structured_outputs"
        if sum(one is not None for one in (self.json_, self.regex, self.choice, self.grammar_)) != 1:
            message = f"{name} names none or several forms; expected one of json, regex, choice and grammar"
            raise ApiError(message, param=name)
        if self.regex is not None:
            return grammars.of_regex(name, self.regex)
        if self.choice is not None:
            return grammars.of_choice(name, self.choice)
        if self.grammar_ is not None:
            return grammars.of_lark(name, self.grammar_)
        return grammars.of_schema(name, _schema(name, self.json_))


def _schema(name: str, given: dict[str, Any] | str | None) -> dict[str, Any]:
    try:
        schema = checked(json.loads(given)) if isinstance(given, str) else given
    except (ValueError, RecursionError) as error:
        raise ApiError(f"json of {name} is no JSON; expected a schema", param=name) from error
    if not isinstance(schema, dict):
        raise ApiError(f"json of {name} is no JSON object; expected a schema", param=name)
    return schema
