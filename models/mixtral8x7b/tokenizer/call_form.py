"""How a chat template shows calls of functions: found by asking it to show some."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from models.mixtral8x7b.tokenizer.errors import TokenizerError
from models.mixtral8x7b.tokenizer.roles import ASSISTANT, USER, Message

_NAMES, _IDS = ("zqfirst", "zqsecond"), ("zqCallA01", "zqCallB02")
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "It counts.",
            "parameters": {"type": "object", "properties": {"zqcount": {"type": "integer"}}},
        },
    }
    for name in _NAMES
]
_CALLS = tuple(
    {"id": i, "type": "function", "function": {"name": name, "arguments": {"zqcount": n}}}
    for n, (i, name) in enumerate(zip(_IDS, _NAMES, strict=True))
)
_ID_OF_JSON = re.compile(r',\s*"id":\s*"')
Render = Callable[[Sequence[Message], bool], str]


@dataclass(frozen=True)
class CallForm:
    """The text of an answer that is calls: `begin`, a call, `between` and another as often as wanted, `end`.

    A call is a name and its arguments, which are a JSON object, with `inside` between the two. Control tokens stand in
    it by name.

    between       None: there is but one call
    around_id     what stands around a call's id, behind its other fields; it may be left out with its id, because
                  models were trained with both. None: there is no id
    """

    begin: str
    inside: str
    between: str | None
    end: str
    name_first: bool = True
    around_id: tuple[str, str] | None = None

    @property
    def mark(self) -> str:
        """What no other answer begins with."""
        found = re.match(r"\[[^\]]*\]|<[^>]*>|\S+", self.begin)
        assert found
        return found[0]


class _Shown(NamedTuple):
    """A text that shows calls: what stands before them, in each, between them (None: it is one), and behind."""

    begin: str
    inside: list[list[str]]
    fields: list[list[str]]
    between: str | None
    end: str


def shown_calls(render: Render, stops: Collection[str]) -> CallForm | None:
    """render: of a chat with TOOLS, with or without the beginning of an answer. stops: names of tokens that end one.

    None: the template does not take tools, or shows calls in a form that is not `CallForm`'s.
    """
    asked = Message(USER, "Count.")
    try:
        prompt = render([asked], True)
        one = _taken_apart(_answer(render, asked, prompt, 1, stops), 1)
    except (TokenizerError, _OtherFormError):
        return None
    if not all(name in prompt for name in _NAMES):
        return None
    try:
        two = _taken_apart(_answer(render, asked, prompt, 2, stops), 2)
    except (TokenizerError, _OtherFormError):
        two = one
    (fields, *_), (inside, *_) = one.fields, one.inside
    is_known = fields[:2] in (["name", "arguments"], ["arguments", "name"]) and len(fields) in (2, 3)
    is_regular = (two.begin, two.end) == (one.begin, one.end) and all(each == inside for each in two.inside)
    if not (is_known and is_regular and re.search(r"\S", one.begin)):
        return None
    between, end, around_id = two.between, one.end, None
    if len(fields) == 3:
        if not (_ID_OF_JSON.fullmatch(inside[1]) and end.startswith('"') and (between or '"').startswith('"')):
            return None
        around_id, end, between = (inside[1], '"'), end[1:], between and between[1:]
    return CallForm(one.begin, inside[0], between, end, fields[0] == "name", around_id)


class _OtherFormError(Exception):
    pass


def _answer(render: Render, asked: Message, prompt: str, n: int, stops: Collection[str]) -> str:
    text = render([asked, Message(ASSISTANT, "", calls=_CALLS[:n])], False)
    if not text.startswith(prompt):
        raise _OtherFormError
    ends = [place for stop in stops if (place := text.find(stop, len(prompt))) >= 0]
    return text[len(prompt) : min(ends, default=len(text))]


def _taken_apart(text: str, n: int) -> _Shown:
    calls = [_spans(text, number) for number in range(n)]
    starts, ends = [spans[0][0] for spans in calls], [spans[-1][1] for spans in calls]
    if n == 2 and ends[0] > starts[1]:
        raise _OtherFormError
    inside = [[text[a[1] : b[0]] for a, b in pairwise(spans)] for spans in calls]
    fields = [[kind for _, _, kind in spans] for spans in calls]
    return _Shown(text[: starts[0]], inside, fields, text[ends[0] : starts[1]] if n == 2 else None, text[ends[-1] :])


def _spans(text: str, number: int) -> list[tuple[int, int, str]]:
    """Where the fields of a call stand, in their order."""
    patterns = {"name": _NAMES[number], "arguments": rf'\{{\s*"zqcount":\s*{number}\s*\}}', "id": _IDS[number]}
    found = {kind: [match.span() for match in re.finditer(pattern, text)] for kind, pattern in patterns.items()}
    if [len(found["name"]), len(found["arguments"])] != [1, 1] or len(found["id"]) > 1:
        raise _OtherFormError
    return sorted((*span, kind) for kind, spans in found.items() for span in spans)
