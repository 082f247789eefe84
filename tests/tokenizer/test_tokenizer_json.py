"""What a tokenizer.json may hold that changes how text is cut."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from models.mixtral8x7b.tokenizer import Tokenizer
from tests.tokenizer.makers import CHATML, TEXTS, hugging_face, said

MARKS = ("<|im_end|>", "<|im_start|>")
SPACES = [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]


def changed(folder: Path, **changes: Any) -> Path:
    """A tokenizer.json with other values, `model` changed key by key, and a tokenizer_config.json that trusts it."""
    file = hugging_face(folder, special=MARKS, plain=("wörd",), template=CHATML) / "tokenizer.json"
    values = json.loads(file.read_text())
    model = values["model"] | changes.pop("model", {})
    file.write_text(json.dumps(values | changes | {"model": model}))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"tokenizer_class": "PreTrainedTokenizerFast"}))
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"normalizer": {"type": "Sequence", "normalizers": SPACES}, "pre_tokenizer": None},  # as older ones are
        {"normalizer": {"type": "Lowercase"}},
        {"post_processor": None},  # no BOS
    ],
    ids=["plain", "older", "lower case", "no BOS"],
)
def test_text_and_chats_equal_transformers(tmp_path: Path, changes: dict) -> None:
    folder = changed(tmp_path, **changes)
    theirs, ours = AutoTokenizer.from_pretrained(folder), Tokenizer(folder)
    for text in (*TEXTS, "UPPER wörd"):
        assert ours.encode(text) == theirs.encode(text)
        assert ours.encode(text, bos=False) == theirs.encode(text, add_special_tokens=False)
    for chat in (said("user: Hi wörd"), said("system: Be BRIEF.", "user:  Hi", "assistant: Hello. ", "user: Who?")):
        assert ours.encode_chat(chat) == theirs.apply_chat_template(chat, add_generation_prompt=True)["input_ids"]


def test_limits_of_length_that_were_left_in_it_do_not_count(tmp_path: Path) -> None:
    plain = Tokenizer(changed(tmp_path / "plain")).encode("one two three four five")
    truncation = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 64}, "direction": "Left", "pad_to_multiple_of": None}
    padding |= {"pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>"}
    folder = changed(tmp_path / "limited", truncation=truncation, padding=padding)
    assert Tokenizer(folder).encode("one two three four five", bos=False) == plain[1:]


def test_no_merge_and_no_look_up_makes_a_control_token_of_text(tmp_path: Path) -> None:
    model = json.loads((hugging_face(tmp_path / "plain") / "tokenizer.json").read_text())["model"]
    merges = [["<", "s"], ["<s", ">"], *model["merges"]]
    merging = Tokenizer(
        changed(
            tmp_path / "merging",
            model={"merges": merges, "vocab": model["vocab"] | {"<": 1028, "s": 1029, "<s": 1030, ">": 1031}},
        )
    )
    looking = Tokenizer(changed(tmp_path / "looking", model={"ignore_merges": True}, pre_tokenizer=None))
    for tokenizer in (merging, looking):
        ids = tokenizer.encode("<s>", bos=False)
        assert 1 not in ids
        assert tokenizer.decode(ids) == "<s>"
    assert 1030 in merging.encode("<s>", bos=False)


def test_a_control_token_is_found_whatever_is_done_to_text_before(tmp_path: Path) -> None:
    folder = changed(tmp_path, normalizer={"type": "Sequence", "normalizers": SPACES}, pre_tokenizer=None)
    values = json.loads((folder / "tokenizer.json").read_text())
    for token in values["added_tokens"]:
        if token["content"] == "<|im_start|>":
            token |= {"special": False, "normalized": True}
    (folder / "tokenizer.json").write_text(json.dumps(values))
    assert Tokenizer(folder).encode_chat(["Hi"]).count(1025) == 2
