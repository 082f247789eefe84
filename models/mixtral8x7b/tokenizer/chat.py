"""How a chat is written: by the checkpoint's own template, else in the form that its control tokens tell.

    v1       no control token of a chat: BOS "[INST] Hi [/INST]" "Hello." EOS "[INST] Who? [/INST]", each part encoded
             on its own; a system prompt stands before the first of the user's texts
    v2, v3   [INST] and [/INST] are control tokens: BOS [INST] "Hi" [/INST] "Hello." EOS ...; a system prompt stands
             before the last of the user's texts
    ChatML   <|im_start|> and <|im_end|> are tokens

v1 to v3 are what mistral-common gives. Where a tokenizer has v3's control tokens for tools and no template, V3_TOOLS is
the template of a chat with tools.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from models.mixtral8x7b.tokenizer.errors import TokenizerError
from models.mixtral8x7b.tokenizer.roles import USER, Message, alternating, system_prompt, with_prompt

INST, END_INST = "[INST]", "[/INST]"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_OF_TOOLS = ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
# Of messages as `arranged` puts them; the tools stand before the user's last.
V3_TOOLS = """\
{%- set last = namespace(user=0) -%}
{%- for message in messages -%}
  {%- if message.role == "user" -%}{%- set last.user = loop.index -%}{%- endif -%}
{%- endfor -%}
{{- bos_token -}}
{%- for message in messages -%}
  {%- if message.role == "user" -%}
    {%- if tools and loop.index == last.user -%}
      {{- "[AVAILABLE_TOOLS] " + tools | tojson + "[/AVAILABLE_TOOLS]" -}}
    {%- endif -%}
    {{- "[INST] " + message.content + "[/INST]" -}}
  {%- elif message.tool_calls -%}
    {{- "[TOOL_CALLS] [" -}}
    {%- for call in message.tool_calls -%}
      {{- '{"name": ' + call.function.name | tojson + ', "arguments": ' + call.function.arguments | tojson -}}
      {{- ', "id": ' + call.id | tojson + "}" + ("" if loop.last else ", ") -}}
    {%- endfor -%}
    {{- "]" + eos_token -}}
  {%- elif message.role == "tool" -%}
    {{- '[TOOL_RESULTS] {"content": ' + message.content | tojson + ', "call_id": ' + message.tool_call_id | tojson -}}
    {{- "}[/TOOL_RESULTS]" -}}
  {%- else -%}
    {{- " " + message.content + eos_token -}}
  {%- endif -%}
{%- endfor -%}
"""
_OF_A_TURN = re.compile(r"user|assistant|human|system|inst\b|turn|header|im_start", re.IGNORECASE)
Encode = Callable[[str], list[int]]


def is_chatml(names: Collection[str]) -> bool:
    return {"<|im_start|>", "<|im_end|>"} <= set(names)


def has_v3_tools(names: Collection[str]) -> bool:
    return {INST, END_INST, *_OF_TOOLS} <= set(names)


def arranged(messages: Sequence[Message], has_tokens: bool) -> list[Message]:
    """The user's and the assistant's by turns, with the system prompt where v1, or v2 and v3, have it."""
    prompt, said = system_prompt(messages), alternating(messages)
    prompted = max(n for n, message in enumerate(said) if message.role == USER) if has_tokens else 0
    said[prompted] = with_prompt(said[prompted], prompt)
    return said


def encode_mistral(
    messages: Sequence[Message], encode: Encode, ids: Mapping[str, int], bos: int | None, eos: int
) -> list[int]:
    """v2 and v3 where `ids` has [INST], else v1."""
    has_tokens = INST in ids
    encoded = [] if bos is None else [bos]
    for message in arranged(messages, has_tokens):
        text = message.content
        if message.role != USER:
            encoded += [*encode(text.rstrip(" ") if has_tokens else text), eos]
        elif has_tokens:
            encoded += [ids[INST], *encode(text), ids[END_INST]]
        else:
            encoded += encode(f"{INST} {text} {END_INST}")
    return encoded


def check_mistral(names: Collection[str], has_mistral_pieces: bool, file: Path) -> None:
    """Raises TokenizerError if a tokenizer with tokens of these names is neither v1, v2 nor v3."""
    if {INST, END_INST} <= set(names):
        strange = [name for name in names if name == "[SYSTEM_PROMPT]"]
    else:
        strange = [name for name in names if _OF_A_TURN.search(name)]
    if strange or not has_mistral_pieces:
        has = f"has the control token {strange[0]}" if strange else "is not of Mistral's kind"
        raise TokenizerError(
            f"{file} {has}, and no chat template stands beside it: how a chat is written for this model is not known; "
            "put its tokenizer_config.json or chat_template.jinja there, or use --kind general"
        )
