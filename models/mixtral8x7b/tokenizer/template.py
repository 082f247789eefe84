"""A chat template, which somebody else wrote: rendered by jinja2 in its sandbox, with what transformers gives it."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.mixtral8x7b.tokenizer.beside import Template
from models.mixtral8x7b.tokenizer.errors import ChatError, TokenizerError
from models.mixtral8x7b.tokenizer.roles import Message, alternating, system_prompt, with_prompt

_OF_A_TEMPLATE = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Refusal(jinja2.TemplateError):
    """What a template says of a chat that it was not made for."""


class ChatTemplate:
    """What a template writes of a chat."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._environment = _environment()

    def holds(self, name: str) -> bool:
        """Whether the template itself writes a name."""
        return any(name in text for text in self._literals)

    def render(
        self,
        messages: Sequence[Message],
        names: Mapping[str, str],
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = True,
    ) -> str:
        """The chat, with the beginning of an answer if that is wanted. `names`: bos_token and so on.

        A template that refuses system prompts or neighbours of one role gets them joined into the user's turns.
        Raises ChatError if it refuses this too, TokenizerError if it is no template.
        """
        try:
            return self._render(messages, names, tools, add_generation_prompt)
        except _Refusal as refusal:
            first, *others = alternating(messages)
            joined = [with_prompt(first, system_prompt(messages)), *others]
            if joined == list(messages):
                raise self._refused(refusal) from refusal
        try:
            return self._render(joined, names, tools, add_generation_prompt)
        except _Refusal as refusal:
            raise self._refused(refusal) from refusal

    def _render(
        self,
        messages: Sequence[Message],
        names: Mapping[str, str],
        tools: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
    ) -> str:
        given = {"tools": list(tools) or None, "documents": None, "add_generation_prompt": add_generation_prompt}
        try:
            return self._compiled.render(messages=list(map(_told, messages)), **given, **names)
        except _Refusal:
            raise
        except _OF_A_TEMPLATE as error:
            raise TokenizerError(
                f"the chat template of {self._template.file} cannot be used ({_said(error)}); expected one that "
                "transformers renders: mend it, or put the original's there"
            ) from error

    def _refused(self, refusal: _Refusal) -> ChatError:
        file = self._template.file
        return ChatError(
            f"the chat template of {file} refuses this chat ({_said(refusal)}); expected one that it takes"
        )

    @cached_property
    def _compiled(self) -> jinja2.Template:
        return self._environment.from_string(self._template.text)

    @cached_property
    def _literals(self) -> list[str]:
        try:
            parsed = self._environment.parse(self._template.text)
        except jinja2.TemplateError:
            return []  # told when a chat is rendered
        texts = [node.data for node in parsed.find_all(nodes.TemplateData)]
        return texts + [node.value for node in parsed.find_all(nodes.Const) if isinstance(node.value, str)]


def _told(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.calls:
        told["tool_calls"] = list(message.calls)
    if message.call_id is not None:
        told["tool_call_id"] = message.call_id
    return told


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise, "strftime_now": _now}
    return environment


class _Generation(Extension):
    """{% generation %}: marks for trainers what the assistant says, and changes nothing."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _said(error: Exception) -> str:
    """On one line."""
    return " ".join(str(error).replace("None", "nothing").split())


def _raise(message: object) -> NoReturn:
    raise _Refusal(str(message))


def _now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(value: Any, ensure_ascii: bool = False, **how: Any) -> str:
    """jinja2's own escapes HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **how)
