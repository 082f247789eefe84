"""What the demo's users say, cut to a context, with whatever tokenizer the checkpoint has.

.venv/bin/python -m pytest tests/demo/test_prompts.py
"""

import json
from pathlib import Path

import pytest

from demo.prompts import INPUTS, PromptsError, load_prompts, long_prompts, short_prompts
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.tokenizer.makers import CHATML, MIXTRAL_TODAY, TINY, beside_tiny, hugging_face


@pytest.fixture(scope="module", params=["mistral", "ChatML", "template", "tokenizer.json"])
def tokenizer(request, tmp_path_factory) -> Tokenizer:
    if request.param == "mistral":
        return Tokenizer(TINY)
    folder = tmp_path_factory.mktemp("tokenizer")
    added = {"<|im_end|>": 1024, "<|im_start|>": 1025}
    if request.param == "ChatML":
        config = {"chat_template": CHATML, "eos_token": "<|im_end|>"}
        return Tokenizer(beside_tiny(folder, added_tokens=added, tokenizer_config=config))
    if request.param == "template":
        return Tokenizer(beside_tiny(folder, tokenizer_config={"chat_template": MIXTRAL_TODAY}))
    return Tokenizer(hugging_face(folder, template=CHATML, special=tuple(added)))


@pytest.mark.parametrize("is_instruct", [True, False])
@pytest.mark.parametrize("limit", [300, 4046])
def test_long_prompts_fill_the_context_and_end_with_the_question(tokenizer, limit: int, is_instruct: bool) -> None:
    prompts = long_prompts(2, limit, is_instruct, tokenizer)
    assert prompts[0].text != prompts[1].text
    for prompt in prompts:
        assert limit - 100 < len(prompt.ids) <= limit
        if is_instruct:
            assert prompt.text.splitlines()[-1].startswith("Question: ")
            assert prompt.expected is not None
            assert prompt.expected in prompt.text


def test_a_long_prompt_loses_its_beginning_and_the_form_stays_whole(tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"prompt": "Once upon a time. " * 50 + "What is the capital of France?"}]))
    (prompt,) = short_prompts(file, 1, 60, True, tokenizer)
    assert 50 < len(prompt.ids) <= 60
    empty, read = tokenizer.decode(tokenizer.encode_chat(["|"])), tokenizer.decode(prompt.ids)
    before, after = empty.split("|")
    assert read.startswith(before.rstrip())
    assert read.endswith("What is the capital of France?" + after)
    control = [i for i in tokenizer.encode_chat(["|"]) if i < 3 or i > 1023]
    assert [i for i in prompt.ids if i < 3 or i > 1023] == control


def test_prompts_that_nobody_asks_are_told(tokenizer: Tokenizer, tmp_path: Path, capsys) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(json.dumps([{"prompt": f"Question {n}"} for n in range(40)]))
    assert [prompt.text for prompt in short_prompts(file, 32, 78, False, tokenizer)][-1] == "Question 31"
    printed = capsys.readouterr().out
    assert printed.startswith(f"8 of the 40 prompts in {file} are left out, from the end: 32 users ask one each; ")
    assert printed.count("\n") == 1
    for n_users in (32, 40):
        short_prompts(INPUTS / "instruct.json" if n_users == 32 else file, n_users, 78, False, tokenizer)
    assert capsys.readouterr().out == ""


# ---------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("{}", "holds no list of prompts"),
        ("[]", "holds no list of prompts"),
        ('["hello"]', "entry 1 of .* is 'hello'; expected"),
        ('[{"prompt": "a"}, {"prompt": ""}]', "entry 2 of"),
        ('[{"prompt": 5}]', "entry 1 of"),
        (r'[{"prompt": "\ud800"}]', "entry 1 of .* holds half a character"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_prompts_file_is_named(content: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "prompts.json"
    file.write_text(content)
    with pytest.raises(PromptsError, match=message):
        load_prompts(file)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "prompts.json").write_text('[{"prompt": "a"}]', encoding="utf-8-sig")
    assert load_prompts(tmp_path / "prompts.json") == ["a"]
