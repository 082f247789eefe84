"""Tokenizers as people bring them, made of the tiny checkpoint's and of those that mistral-common carries."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import mistral_common
import sentencepiece
from transformers import LlamaTokenizer
from transformers.tokenization_utils_base import generate_merges

DATA = Path(mistral_common.__file__).parent / "data"
V1 = DATA / "tokenizer.model.v1"
V2 = DATA / "mistral_instruct_tokenizer_240216.model.v2"
V3 = DATA / "mistral_instruct_tokenizer_240323.model.v3"
V7 = DATA / "mistral_instruct_tokenizer_241114.model.v7"
TINY = Path(__file__).resolve().parents[2] / "checkpoints" / "mixtral-tiny-instruct" / "tokenizer.model"
TEXTS = ("Hello", " two  leading spaces", "", "naïve café, 東京 🙂\n\tx", "trailing ", "[INST] in the text", "1234567")

CHATML = """{% for message in messages -%}
<|im_start|>{{ message['role'] + '\\n' + message['content'] }}<|im_end|>{{ '\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
# Mixtral's own, of its first release and today's
MIXTRAL_FIRST = (
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token}}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
)
MIXTRAL_TODAY = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}

{{- bos_token }}
{%- for message in loop_messages %}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{- raise_exception('After the optional system message, conversation roles must alternate') }}
    {%- endif %}
    {%- if message["role"] == "user" %}
        {%- if loop.first and system_message is defined %}
            {{- " [INST] " + system_message + "\\n\\n" + message["content"] + " [/INST]" }}
        {%- else %}
            {{- " [INST] " + message["content"] + " [/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {% generation %}{{- " " + message["content"] + eos_token}}{% endgeneration %}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported") }}
    {%- endif %}
{%- endfor %}
"""
# With tools: as the third of Mistral's tokenizers and a well-known fine-tune have them
V3_TOOLS = """{{- bos_token }}
{%- set asked = messages | selectattr("role", "equalto", "user") | list %}
{%- for message in messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == asked[-1]) %}
            {{- "[AVAILABLE_TOOLS] " + tools|tojson + "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {{- "[INST] " + message["content"] + "[/INST]" }}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for call in message.tool_calls %}
            {%- if call.id is not defined or call.id|length != 9 %}
                {{- raise_exception("Tool call IDs should be alphanumeric strings with length 9!") }}
            {%- endif %}
            {{- (call.function|tojson)[:-1] + ', "id": "' + call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- endif %}
        {%- endfor %}
        {{- "]" + eos_token }}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message["content"]|string + ', "call_id": "' + message.tool_call_id }}
        {{- '"}[/TOOL_RESULTS]' }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles are supported, with the exception of tools") }}
    {%- endif %}
{%- endfor %}
"""
CHATML_TOOLS = """{%- if tools %}
    {{- '<|im_start|>system\\nYou may call:' }}{% for tool in tools %}{{ '\\n' + tool|tojson }}{% endfor %}
    {{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == "tool" %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- elif message.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- for call in message.tool_calls %}
            {{- '\\n<tool_call>\\n' + call.function|tojson + '\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{% endif %}
"""


def said(*turns: str) -> list[dict[str, str]]:
    """ "system: Be brief.", "user: Hi" """
    return [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]


@cache
def _merges(model: Path) -> tuple[dict[str, int], list]:
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(model))
    names = [pieces.id_to_piece(i) for i in range(pieces.vocab_size())]
    scores = {name: pieces.get_score(i) for i, name in enumerate(names)}
    vocab = {name: i for i, name in enumerate(names)}
    return vocab, generate_merges(vocab, scores, {"<unk>", "<s>", "</s>"})


def hugging_face(
    folder: Path,
    model: Path = TINY,
    template: str | None = None,
    special=(),
    plain=(),
    legacy: bool = False,
    **config: Any,
) -> Path:
    """What transformers saves of a tokenizer: tokenizer.json, tokenizer_config.json, chat_template.jinja.

    `special` and `plain` are added tokens, in this order.
    """
    vocab, merges = _merges(model)
    tokenizer = LlamaTokenizer(vocab=vocab, merges=merges, legacy=legacy, add_bos_token=True)
    tokenizer.add_tokens(list(special), special_tokens=True)
    tokenizer.add_tokens(list(plain))
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    written = folder / "tokenizer_config.json"
    written.write_text(json.dumps(json.loads(written.read_text()) | {"legacy": legacy} | config))
    return folder


def older(folder: Path, out: Path, model: Path = TINY) -> Path:
    """The same tokenizer as fine-tunes shipped it: tokenizer.model, added_tokens.json, tokenizer_config.json."""
    out.mkdir()
    shutil.copyfile(model, out / "tokenizer.model")
    added = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    (out / "added_tokens.json").write_text(json.dumps({token["content"]: token["id"] for token in added}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    if (folder / "chat_template.jinja").is_file():
        config["chat_template"] = (folder / "chat_template.jinja").read_text()
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    return out


def beside_tiny(folder: Path, **files: Any) -> Path:
    """The tiny checkpoint's tokenizer.model with other files: added_tokens={...} is added_tokens.json."""
    folder.mkdir(exist_ok=True)
    shutil.copyfile(TINY, folder / "tokenizer.model")
    for name, values in files.items():
        (folder / f"{name}.json").write_text(json.dumps(values))
    return folder
