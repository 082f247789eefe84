"""Chats with tools: as mistral-common and transformers write them, and what a template shows of calls."""

import json
from pathlib import Path
from typing import Any

import pytest
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from transformers import AutoTokenizer

from models.mixtral8x7b.tokenizer import CallForm, ChatError, Tokenizer
from tests.tokenizer.makers import (
    CHATML,
    CHATML_TOOLS,
    MIXTRAL_TODAY,
    TINY,
    V1,
    V3,
    V3_TOOLS,
    beside_tiny,
    hugging_face,
    said,
)

CITY = {"type": "object", "properties": {"city": {"type": "string", "description": "Où? </s>"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Tells [INST] it.", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "description": "Now.", "parameters": {"type": "object"}}}
TOOLS = [WEATHER, CLOCK]
V3_FORM = CallForm('[TOOL_CALLS] [{"name": "', '", "arguments": ', '}, {"name": "', "}]", around_id=(', "id": "', '"'))
CHATML_FORM = CallForm(
    '<tool_call>\n{"name": "', '", "arguments": ', '}\n</tool_call>\n<tool_call>\n{"name": "', "}\n</tool_call>"
)


def call(number: int, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": f"callid{number:03}", "type": "function", "function": {"name": name, "arguments": arguments}}


def result(number: int, content: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"callid{number:03}", "content": content}


def calls(*calls: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": "", "tool_calls": list(calls)}


CHATS = (
    said("user: Hi"),
    said("user: Hi", "assistant: Hello.", "user: Hi"),
    [*said("user: Weather?"), calls(call(1, "weather", city="Tōkyō [INST]")), result(1, "rain </s>")],
    [
        *said("user: Both?"),
        calls(call(1, "weather", city="Paris"), call(2, "clock")),
        result(1, "sun"),
        result(2, "noon"),
        *said("assistant: Sun at noon.", "user: And now?"),
    ],
)


@pytest.mark.parametrize("chat", [*CHATS, said("system: Be brief.", "user: Hi", "assistant: Hello.", "user: Who?")])
@pytest.mark.parametrize("tools", [TOOLS, []], ids=["tools", "none"])
def test_the_third_tokenizer_alone_equals_mistral_common(chat: list[dict[str, Any]], tools: list) -> None:
    theirs = MistralTokenizer.from_file(str(V3))
    told = [
        {**m, "tool_calls": [{**c, "function": {**c["function"], "arguments": json.dumps(c["function"]["arguments"])}}
                             for c in m["tool_calls"]]} if "tool_calls" in m else m for m in chat
    ]  # fmt: skip
    request = ChatCompletionRequest.model_validate({"messages": told, "tools": tools or None})
    assert Tokenizer(V3).encode_chat(chat, tools) == theirs.encode_chat_completion(request).tokens


@pytest.fixture(scope="module", params=["v3", "chatml"])
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[AutoTokenizer, Tokenizer]:
    folder = tmp_path_factory.mktemp("tools")
    if request.param == "v3":
        marks = ("[INST]", "[/INST]", "[TOOL_CALLS]")
        marks += ("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]")
        hugging_face(folder, model=V3, template=V3_TOOLS, special=marks)
    else:
        marks = ("<|im_end|>", "<|im_start|>", "<tool_call>", "</tool_call>")
        hugging_face(folder, template=CHATML_TOOLS, special=marks, eos_token="<|im_end|>")
    return AutoTokenizer.from_pretrained(folder), Tokenizer(folder)


@pytest.mark.parametrize("chat", CHATS, ids=range(len(CHATS)))
def test_a_template_with_tools_is_rendered_as_transformers_does(kind, chat: list[dict[str, Any]]) -> None:
    theirs, ours = kind
    chat = json.loads(json.dumps(chat).replace("[INST]", "INST").replace("</s>", "s"))  # what they take for tokens
    tools = json.loads(json.dumps(TOOLS).replace("[INST]", "INST").replace("</s>", "s"))
    for given in (tools, None):
        rendered = theirs.apply_chat_template(chat, tools=given, tokenize=False, add_generation_prompt=True)
        ids = theirs(rendered, add_special_tokens=False)["input_ids"]
        assert ours.encode_chat(chat, given or ()) == ids


def test_what_is_said_in_tools_calls_and_results_is_never_a_control_token(kind) -> None:
    ours = kind[1]
    loud = ours.encode_chat(CHATS[2], TOOLS)
    quiet = json.loads(json.dumps([CHATS[2], TOOLS]).replace("[INST]", "x").replace("</s>", "x"))
    control = [[i for i in ids if i in ours.control_ids] for ids in (loud, ours.encode_chat(*quiet))]
    assert control[0] == control[1]
    assert ours.decode(loud).count("[INST]") == 2
    assert ours.decode(loud).count("</s>") == 2


def with_template(folder: Path, template: str) -> Tokenizer:
    marks = {"<|im_end|>": 1024, "<|im_start|>": 1025}
    return Tokenizer(
        beside_tiny(folder, added_tokens=marks, tokenizer_config={"chat_template": template, "eos_token": "<|im_end|>"})
    )


def test_templates_show_their_calls(kind, tmp_path: Path) -> None:
    assert kind[1].call_form in (V3_FORM, CHATML_FORM)
    assert Tokenizer(V3).call_form == V3_FORM
    assert V3_FORM.mark == "[TOOL_CALLS]"
    assert [part for part in Tokenizer(V3).parts(V3_FORM.begin)] == [5, ' [{"name": "']
    assert Tokenizer(V1).call_form is None
    assert Tokenizer(TINY).call_form is None
    for template in (
        MIXTRAL_TODAY,
        CHATML,
        CHATML_TOOLS.replace("if tools", "if false"),  # tells of no tools
        CHATML_TOOLS.replace("call.function|tojson", "call.function.name + '()'"),
        CHATML_TOOLS.replace("call.function|tojson", "call|tojson"),  # with an id that is no last field
        CHATML_TOOLS.replace("message.tool_calls", "message.nothing"),
        "{{ raise_exception('no') }}",
        "{{ 1 / 0 }}",
    ):
        assert with_template(tmp_path, template).call_form is None
    for changed, form in (
        ("call.function.name + ': ' + call.function.arguments|tojson", ("<tool_call>\n", ": ", "\n</tool_call>")),
        (
            "'{\"arguments\": ' + call.function.arguments|tojson + ', \"name\": \"' + call.function.name + '\"}'",
            ('<tool_call>\n{"arguments": ', ', "name": "', '"}\n</tool_call>'),
        ),
    ):
        template = CHATML_TOOLS.replace("call.function|tojson", changed)
        found = with_template(tmp_path, template).call_form
        assert found is not None
        assert (found.begin, found.inside, found.end) == form
        assert found.name_first == (form[1] == ": ")
    only = "{{- raise_exception('one') if message.tool_calls|length > 1 }}"
    one = CHATML_TOOLS.replace("{%- for call in message", only + "{%- for call in message")
    found = with_template(tmp_path, one).call_form
    assert found == CallForm(CHATML_FORM.begin, CHATML_FORM.inside, None, CHATML_FORM.end)


@pytest.mark.parametrize("text", ["Paris is", " Paris  is ", "naïve 東京"])
def test_a_last_message_is_continued(kind, text: str) -> None:
    theirs, ours = kind
    chat = said("user: Hi", f"assistant: {text}")
    rendered = theirs.apply_chat_template(chat, tokenize=False, continue_final_message=True)
    assert (
        ours.encode_chat(chat, continue_final_message=True)
        == (theirs(rendered.rstrip(), add_special_tokens=False)["input_ids"])
    )
    closed = theirs.apply_chat_template(chat, tokenize=False)
    assert ours.encode_chat(chat, add_generation_prompt=False) == theirs(closed, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("file", [V1, V3], ids=["v1", "v3"])
def test_a_last_message_is_continued_in_mistrals_form(file: Path) -> None:
    tokenizer = Tokenizer(file)
    open_, asked = tokenizer.encode_chat(said("user: Hi", "assistant: Paris is"), continue_final_message=True), ["Hi"]
    assert open_ == tokenizer.encode_chat(asked) + tokenizer.encode("Paris is", bos=False)
    closed = tokenizer.encode_chat(said("user: Hi", "assistant: Paris is"), add_generation_prompt=False)
    assert closed == [*open_, tokenizer.eos_id]


@pytest.mark.parametrize(
    ("chat", "options", "message"),
    [
        (said("user: Hi", "assistant: a"), {}, "expected that the user has the last word"),
        (said("user: Hi"), {"continue_final_message": True}, "expected that the assistant has the last word"),
        (said("user: Hi", "assistant: "), {"continue_final_message": True}, "and that it is some text"),
        ([*said("user: Hi"), result(1, "x")], {}, "expected one of user, assistant, system"),
    ],
)
def test_who_has_the_wrong_last_word_is_told(chat: list, options: dict[str, bool], message: str) -> None:
    with pytest.raises(ChatError, match=message):
        Tokenizer(V1).encode_chat(chat, **options)
