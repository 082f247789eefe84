"""The tokenizer of a checkpoint: ids are plain lists of int."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from models.mixtral8x7b.tokenizer.added_tokens import AddedToken, aliases, merged, pattern_of
from models.mixtral8x7b.tokenizer.answer import Answer
from models.mixtral8x7b.tokenizer.beside import Beside, Template
from models.mixtral8x7b.tokenizer.call_form import TOOLS, CallForm, shown_calls
from models.mixtral8x7b.tokenizer.chat import (
    CHATML,
    V3_TOOLS,
    arranged,
    check_mistral,
    encode_mistral,
    has_v3_tools,
    is_chatml,
)
from models.mixtral8x7b.tokenizer.errors import ChatError, TokenizerError
from models.mixtral8x7b.tokenizer.finding import find, is_json, read, values_of
from models.mixtral8x7b.tokenizer.json_file import JsonFile, added_tokens
from models.mixtral8x7b.tokenizer.roles import Message, check_last, messages_of
from models.mixtral8x7b.tokenizer.sentencepiece_file import SentencePieceFile
from models.mixtral8x7b.tokenizer.stops import StopStrings
from models.mixtral8x7b.tokenizer.stream import LONGEST, StreamDecoder
from models.mixtral8x7b.tokenizer.template import ChatTemplate

_BYTE = re.compile("<0x([0-9A-F]{2})>")
# The letters that stand for bytes in the other kind of BPE: printable ones for themselves, then the rest in order.
_PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_BYTE_OF = {chr(byte): byte for byte in _PRINTABLE} | {
    chr(0x100 + number): byte for number, byte in enumerate(byte for byte in range(0x100) if byte not in _PRINTABLE)
}
_NEEDED = ("bos_token", "eos_token")
_PRIVATE = range(0xF0000, 0xFFFFE)  # characters that no standard gives a meaning


class Tokenizer:
    """Reads `tokenizer.model` or `tokenizer.json` (a file, or the folder that holds it), with what stands beside it.

    Raises TokenizerError if it cannot.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = find(Path(path))
        content = read(self.file)
        source = (
            JsonFile(self.file, values_of(self.file))
            if is_json(self.file, content)
            else SentencePieceFile(self.file, content)
        )
        beside = Beside.read(self.file.parent)
        self.roles = source.roles | beside.roles  # bos_token, eos_token, ... -> content
        self._source = source
        self._tokens = {token.content: token for token in _tokens(source, beside, self.roles)}
        self._contents = {token.id: content for content, token in self._tokens.items()}
        self.bos_id = self._id_of("bos_token")
        eos, usual_eos = self._id_of("eos_token"), source.id_of(source.roles.get("eos_token", ""))
        if eos is None:
            raise TokenizerError(
                f"{self.file} names no token that ends a text; put its tokenizer_config.json beside it"
            )
        self.eos_id: int = eos
        self.stop_ids = beside.stop_ids | {i for i in (eos, usual_eos) if i is not None}
        self._has_mistral_pieces = source.has_mistral_pieces
        template = beside.template or (Template(CHATML, self.file) if is_chatml(self._tokens) else None)
        self._template = ChatTemplate(template) if template else None
        self.chat_template = template.text if template else None
        self._control = {
            content: token
            for content, token in self._tokens.items()
            if token.special
            or content in beside.control
            or token.id in self.stop_ids
            or (self._template and not content.isspace() and self._template.holds(content))
        }
        self.control_ids = frozenset(token.id for token in self._control.values())
        self._aliases = aliases(self._control.values())
        self._pieces = source.pieces(
            {self._aliases[token.id]: token for token in self._control.values()},
            [token for token in self._tokens.values() if token.id not in self.control_ids],
            beside,
        )
        # ids from here on mean nothing
        self.vocab_size: int = max(source.n_ids, *(token.id + 1 for token in self._tokens.values()))

    def check_vocab_size(self, expected: int) -> None:
        """Raises TokenizerError if this tokenizer has more ids than the model, so belongs to another."""
        if self.vocab_size > expected:
            raise TokenizerError(
                f"{self.file} has {self.vocab_size} pieces; the model has a vocabulary of {expected}: "
                f"use the {self.file.name} that came with the weights"
            )

    def encode(self, text: str, bos: bool = True) -> list[int]:
        """Control tokens in the text are text. With `bos` BOS stands before it, unless the tokenizer's files say that
        this model has none there."""
        begin = [self.bos_id] if bos and self.bos_id is not None and self._pieces.begins_with(self.bos_id) else []
        return begin + self._pieces.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; control tokens, and ids that mean nothing, have none."""
        return self._pieces.decode([i for i in ids if i not in self.control_ids])

    @cached_property
    def call_form(self) -> CallForm | None:
        """How the model's chats show calls of functions; None: they have no form for tools, or none that is known."""
        template = self._tools_template
        if template is None:
            return None

        def render(messages: Sequence[Message], add_generation_prompt: bool) -> str:
            return template.render(messages, self.roles, TOOLS, add_generation_prompt)

        return shown_calls(render, [self._contents[i] for i in self.stop_ids if i in self._contents])

    def parts(self, form: str) -> list[str | int]:
        """A text of the chat's form, cut into text and control tokens."""
        found = re.split(f"({pattern_of(self._control).pattern})", form)
        return [self._control[part].id if part in self._control else part for part in found if part]

    def control_in(self, form: CallForm) -> list[int]:
        """The control tokens of calls."""
        texts = (form.begin, form.inside, form.between or "", form.end, *(form.around_id or ()))
        return [part for text in texts for part in self.parts(text) if isinstance(part, int)]

    def encode_chat(
        self,
        turns: Sequence[str] | Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        add_generation_prompt: bool = True,
        continue_final_message: bool = False,
    ) -> list[int]:
        """A conversation as the model was trained to read it, up to where its answer begins.

        turns    ["Hi", "Hello.", "Who?"]: user, assistant, user, ...; or messages, each with a role (user, assistant or
                 system) and a content. The last word is the user's. Where there is a `call_form` the assistant's may
                 have tool_calls, each {"id", "type", "function": {"name", "arguments": {...}}}, and those of the role
                 tool have a tool_call_id
        tools    each {"type": "function", "function": {"name", "description", "parameters"}}, where there is a form
        add_generation_prompt     False: the chat alone, whoever has the last word
        continue_final_message    the last message is the assistant's, and is to go on; no answer begins

        As the checkpoint's chat template writes it, else in Mistral's form (see `chat`). Control tokens in what is said
        are text. Raises ChatError for a chat that cannot be put to the model, TokenizerError if nobody knows how.
        """
        messages = messages_of(turns, self.call_form is not None)
        check_last(messages, add_generation_prompt, continue_final_message)
        prompts = add_generation_prompt and not continue_final_message
        template = self._template
        if template is None:
            check_mistral(self._tokens, self._has_mistral_pieces, self.file)
            if tools or any(message.calls or message.call_id for message in messages):
                template, messages = self._tools_template, arranged(messages, has_tokens=True)
        if template is not None:
            try:
                return self._encode_with(template, messages, tools, prompts, continue_final_message)
            except RecursionError as error:
                message = "a chat has tools or calls that are nested too deep to be written; give flatter ones"
                raise ChatError(message) from error
        ids = {content: token.id for content, token in self._control.items()}
        encoded = encode_mistral(messages, self._pieces.encode, ids, self.bos_id, self.eos_id)
        return encoded[:-1] if continue_final_message else encoded

    def stream(self) -> StreamDecoder:
        return StreamDecoder(self._pieces.decode, self.control_ids)

    def answer(
        self, stops: Iterable[str] = (), after: Sequence[int] = (), shown: Collection[int] = frozenset()
    ) -> Answer:
        """The text of ids as they come, up to the first stop string. Raises StopError for one that is no text.

        after    ids of a text that it goes on with: it then has the space that it begins with
        shown    control tokens that are told by their names
        """
        names = {token: self._contents[token] for token in shown}
        decoder = StreamDecoder(self._pieces.decode, self.control_ids, names)
        for token in after[-LONGEST:]:
            decoder.push(token)
        return Answer(decoder, StopStrings(stops))

    def encode_inside(self, text: str) -> list[int]:
        """Of a text that stands behind another: without the space that is put before one."""
        line = self._pieces.encode("\n")
        ids = self._pieces.encode("\n" + text)
        return ids[len(line) :] if ids[: len(line)] == line else self._pieces.encode(text)

    def control_id(self, name: str) -> int | None:
        """The control token of this name; None: there is none."""
        return self._control[name].id if name in self._control else None

    def token_bytes(self, token_id: int) -> bytes:
        """What a token is within a text: UTF-8, not always a whole character; the content of a control token."""
        if token_id in self._contents:
            return self._contents[token_id].encode()
        name = self._source.name_of(token_id) or ""
        if self._has_mistral_pieces:
            byte = _BYTE.fullmatch(name)
            return bytes([int(byte[1], 16)]) if byte else name.replace("▁", " ").encode()
        return bytes(_BYTE_OF[letter] for letter in name if letter in _BYTE_OF)

    @property
    def _tools_template(self) -> ChatTemplate | None:
        if self._template is None and has_v3_tools(self._control):
            return ChatTemplate(Template(V3_TOOLS, self.file))
        return self._template

    def _encode_with(
        self,
        template: ChatTemplate,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]],
        add_generation_prompt: bool,
        continue_final_message: bool,
    ) -> list[int]:
        """What is said is given to the template with characters in place of control tokens, so that those in what it
        renders are its own."""
        said = json.dumps([[m.content, m.calls, m.call_id] for m in messages] + [tools], ensure_ascii=False)
        unused = (chr(code) for code in _PRIVATE if chr(code) not in said)
        stand_ins = dict(zip(self._control, unused, strict=False))
        control = pattern_of(self._control)

        def mask(text: str) -> str:
            return control.sub(lambda found: stand_ins[found[0]], text)

        masked = [
            replace(
                message,
                content=mask(message.content),
                calls=tuple(_with_texts(message.calls, mask)),
                call_id=message.call_id and mask(message.call_id),
            )
            for message in messages
        ]
        form = template.render(masked, self.roles, _with_texts(list(tools), mask), add_generation_prompt)
        if continue_final_message:
            form = _up_to(form, masked[-1].content.strip(), self.file)
        form = control.sub(lambda found: self._aliases[self._control[found[0]].id], form)
        return self._pieces.encode_form(form.translate({ord(mark): name for name, mark in stand_ins.items()}))

    def _id_of(self, role: str) -> int | None:
        if role not in self.roles:
            return None
        token = self._tokens.get(self.roles[role])
        if token is None:
            raise TokenizerError(
                f"what stands beside {self.file} names {self.roles[role]!r} as {role}, which is none of its tokens; "
                "put the added_tokens.json or tokenizer.json that came with the weights there"
            )
        return token.id


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """JSON with each of its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(key): _with_texts(one, change) for key, one in value.items()}
    return [_with_texts(one, change) for one in value] if isinstance(value, (list, tuple)) else value


def _up_to(form: str, text: str, file: Path) -> str:
    """A chat's form up to the end of its last message."""
    place = form.rfind(text)
    if place < 0:
        raise ChatError(
            f"the chat template beside {file} changes the last message, so that it cannot be continued; "
            "leave continue_final_message out"
        )
    return form[: place + len(text)]


def _tokens(source: JsonFile | SentencePieceFile, beside: Beside, roles: Mapping[str, str]) -> list[AddedToken]:
    """All tokens that are set apart. Raises TokenizerError for one that text already has under another id or name."""
    added = list(beside.tokens)
    contents = {token.content for token, _ in added}
    is_known = bool(added) and all(
        source.id_of(roles.get(r, "")) is not None or roles.get(r) in contents for r in _NEEDED
    )
    complete = source.file.parent / "tokenizer.json"
    if not is_known and complete.is_file() and complete != source.file:
        added += [(token, complete) for token in added_tokens(complete, values_of(complete))]
    for token, file in added:
        name, number = source.name_of(token.id), source.id_of(token.content)
        if name not in (None, token.content) or number not in (None, token.id):
            other = f"{token.content!r} the id {number}" if name in (None, token.content) else f"{name!r} this id"
            raise TokenizerError(
                f"{file} gives {token.content!r} the id {token.id}, and {source.file} gives {other}; expected one id "
                "for each: use the files that came with the weights"
            )
    named = {content: source.id_of(content) for content in (*roles.values(), *beside.control)}
    own = source.own_tokens({token.id for token, _ in added})
    own += [AddedToken(number, content, special=True) for content, number in named.items() if number is not None]
    return merged([*((token, source.file) for token in own), *added])
