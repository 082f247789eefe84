"""What stands beside a tokenizer, and which files are refused in which words."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from models.mixtral8x7b.tokenizer import Tokenizer, TokenizerError
from tests.tokenizer.makers import CHATML, DATA, TINY, V1, V3, beside_tiny, hugging_face

MARKS = {"<|im_end|>": 1024, "<|im_start|>": 1025}
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 493443\n"


def test_a_model_may_have_more_rows_than_the_tokenizer_has_ids(tmp_path: Path) -> None:
    plain, added = Tokenizer(TINY), Tokenizer(beside_tiny(tmp_path, added_tokens=MARKS))
    for tokenizer, n_ids in ((plain, 1024), (added, 1026)):
        assert tokenizer.vocab_size == n_ids
        for vocabulary in (n_ids, n_ids + 1, 1280):
            tokenizer.check_vocab_size(vocabulary)
        with pytest.raises(TokenizerError, match=f"has {n_ids} pieces; the model has a vocabulary of {n_ids - 1}: use"):
            tokenizer.check_vocab_size(n_ids - 1)
    with pytest.raises(TokenizerError, match="has 32000 pieces; the model has a vocabulary of 1024"):
        Tokenizer(V1).check_vocab_size(1024)


def test_ids_in_gaps_and_beyond_mean_nothing(tmp_path: Path) -> None:
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens={"wörd": 1030, "<|im_end|>": 1100}))
    assert tokenizer.vocab_size == 1101
    ids = tokenizer.encode("a wörd", bos=False)
    assert ids[-1] == 1030
    assert tokenizer.decode([*ids, 1024, 1099, 1200]) == "a wörd"


def test_gaps_in_tokenizer_json(tmp_path: Path) -> None:
    file = hugging_face(tmp_path, special=("<|im_end|>",), plain=("wörd",)) / "tokenizer.json"
    values = json.loads(file.read_text())
    for token in values["added_tokens"]:
        token["id"] += 100 * (token["id"] > 1023)
    file.write_text(json.dumps(values))
    (tmp_path / "tokenizer_config.json").unlink()
    tokenizer = Tokenizer(file)
    assert tokenizer.vocab_size == 1126
    assert tokenizer.encode("a wörd")[-1] == 1125
    assert tokenizer.decode([1125, 1024, 1124, 1060]) == "wörd"


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1024, {2, 1024}), ([2, 1024, 1025], {2, 1024, 1025}), (None, {2}), ([], {2}), (1060, {2, 1060})],
)
def test_texts_end_with_every_token_that_generation_config_names(
    tmp_path: Path, value: Any, expected: set[int]
) -> None:
    ends = {"[END]": 1024, "[STOP]": 1025}
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens=ends, generation_config={"eos_token_id": value}))
    assert tokenizer.stop_ids == expected
    assert tokenizer.eos_id == 2
    if 1024 in expected:
        assert tokenizer.decode([*tokenizer.encode("Hi"), 1024]) == "Hi"


def test_what_a_token_is_for_stands_in_either_file(tmp_path: Path) -> None:
    mapped = {"eos_token": {"content": "<|im_end|>", "lstrip": False}}
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens=MARKS, special_tokens_map=mapped))
    assert (tokenizer.eos_id, tokenizer.stop_ids) == (1024, {2, 1024})
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config={"eos_token": "<|im_start|>", "bos_token": None}))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.stop_ids) == (1, 1025, {2, 1025})


def test_reserved_tokens_may_be_named_anew(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(V3.read_bytes())
    decoder = {"20": {"content": "<|im_start|>", "special": True}, "21": {"content": "<|im_end|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"added_tokens_decoder": decoder, "eos_token": "<|im_end|>", "chat_template": CHATML})
    )
    tokenizer = Tokenizer(tmp_path)
    assert (tokenizer.vocab_size, tokenizer.stop_ids) == (32768, {2, 21})
    assert [i for i in tokenizer.encode_chat(["<|im_end|> [INST] [control_20]"]) if i < 771] == [20, 21, 20]


def test_white_space_beside_a_token_is_taken_where_its_flags_say_so(tmp_path: Path) -> None:
    decoder = {"1024": {"content": "<|a|>", "special": True, "lstrip": True, "rstrip": True}}
    config = {"added_tokens_decoder": decoder, "chat_template": "{{ 'x  <|a|>\n y' }}"}
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config=config))
    assert tokenizer.decode(tokenizer.encode_chat(["Hi"])) == "xy"


def test_a_model_without_bos_before_plain_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config={"add_bos_token": False}))
    assert tokenizer.encode("Hi") == tokenizer.encode("Hi", bos=False) == Tokenizer(TINY).encode("Hi")[1:]
    assert tokenizer.encode_chat(["Hi"])[0] == 1


def test_no_space_is_put_before_a_text_where_the_files_say_so(tmp_path: Path) -> None:
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config={"add_prefix_space": False}))
    assert tokenizer.encode(" Hi") == Tokenizer(TINY).encode("Hi")
    assert tokenizer.decode(tokenizer.encode(" Hi")) == " Hi"


def test_tokens_that_only_tokenizer_json_names_are_known_to_tokenizer_model(tmp_path: Path) -> None:
    hugging_face(tmp_path, special=tuple(MARKS), template=CHATML)
    (tmp_path / "tokenizer.model").write_bytes(TINY.read_bytes())
    tokenizer = Tokenizer(tmp_path)
    assert tokenizer.file.name == "tokenizer.model"
    assert tokenizer.vocab_size == 1026
    assert tokenizer.encode_chat(["Hi"]) == Tokenizer(tmp_path / "tokenizer.json").encode_chat(["Hi"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_are_no_mistake(tmp_path: Path, encoding: str) -> None:
    hugging_face(tmp_path, special=tuple(MARKS), template=CHATML, eos_token="<|im_end|>")
    ids = Tokenizer(tmp_path).encode_chat(["Hi"])
    for file in tmp_path.glob("*.json"):
        file.write_text(file.read_text(encoding="utf-8"), encoding=encoding)
    assert Tokenizer(tmp_path).encode_chat(["Hi"]) == ids
    beside_tiny(tmp_path)
    (tmp_path / "added_tokens.json").write_text(json.dumps(MARKS), encoding=encoding)
    assert Tokenizer(tmp_path).encode_chat(["Hi"]) == ids


def test_tokenizer_json_is_known_by_what_it_holds(tmp_path: Path) -> None:
    hugging_face(tmp_path / "hf").joinpath("tokenizer.json").rename(tmp_path / "tokenizer.model")
    assert Tokenizer(tmp_path).encode("Hi there", bos=False) == Tokenizer(TINY).encode("Hi there", bos=False)


# ---------------------------------------------------------------- refusals


def refusal(path: Path) -> str:
    with pytest.raises(TokenizerError) as raised:
        Tokenizer(path)
    sentence = str(raised.value)
    assert "None" not in sentence
    assert "fetch it again" not in sentence
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.model", b"hello", "is not a sentencepiece model, or not all of one (5 bytes); compare its size"),
        ("tokenizer.model", V1.read_bytes()[:-9], "is not a sentencepiece model, or not all of one (493434 bytes)"),
        ("tokenizer.model", b"", "is not a sentencepiece model, or not all of one (0 bytes)"),
        ("tokenizer.model", POINTER.encode(), "is a Git LFS pointer, not the file; run git lfs pull"),
        ("tokenizer.json", POINTER.encode(), "is a Git LFS pointer, not the file; run git lfs pull"),
        (
            "tokenizer.model",
            b"\n<!DOCTYPE html><html></html>",
            "is an HTML page; expected a file of a tokenizer: fetch the file itself",
        ),
        (
            "tokenizer.json",
            b"\xef\xbb\xbf<html>",
            "is an HTML page; expected a file of a tokenizer: fetch the file itself",
        ),
        ("tokenizer.json", b'{"model": {"vocab"', "is not readable as JSON"),
        ("tokenizer.json", b"[]", "holds a list; expected an object"),
        ("tokenizer.json", b"{}", "holds JSON with nothing in it; expected a BPE tokenizer"),
        ("tokenizer.json", b'{"model": {"type": "Unigram", "vocab": []}}', "holds a Unigram tokenizer; expected a BPE"),
        (
            "tokenizer.json",
            b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": 1}',
            "no list in",
        ),
        ("tokenizer.json", b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}', "names no token that ends"),
        (
            "tekken.json",
            b'{"config": {}, "vocab": []}',
            "is a tekken tokenizer, which no Mixtral was trained with; use the",
        ),
        ("vocab.json", b"{}", "tokenizer.model is missing, and so is tokenizer.json; put the one of the weights there"),
    ],
)
def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    sentence = refusal(tmp_path)
    assert message in sentence
    assert str(tmp_path) in sentence


def test_a_path_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "elsewhere.model is missing; put the tokenizer.model or tokenizer.json" in refusal(
        tmp_path / "elsewhere.model"
    )


def test_the_newer_kind_of_mistrals_tokenizers_is_named() -> None:
    assert "is a tekken tokenizer" in refusal(DATA / "tekken_240718.json")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (dict(added_tokens={"<|im_end|>": 500}), "added_tokens.json gives '<|im_end|>' the id 500, and .* this id"),
        (dict(added_tokens={"▁the": 1024}), "gives '▁the' the id 1024, and .*tokenizer.model gives '▁the' the id"),
        (dict(added_tokens={"a b": 1024, "c d": 1024}), "gives 'c d' the id 1024, and .* gives 'a b' the id 1024"),
        (
            dict(
                added_tokens={"<|x|>": 1025}, tokenizer_config={"added_tokens_decoder": {"1024": {"content": "<|x|>"}}}
            ),
            "added_tokens.json gives '<|x|>' the id 1025, and .*tokenizer_config.json gives '<|x|>' the id 1024",
        ),
        (dict(added_tokens={"<|x|>": -1}), "gives '<|x|>' the id -1; expected a text and a number from 0 up"),
        (dict(added_tokens={"<|x|>": True}), "the id True; expected"),
        (dict(added_tokens={"<|x|>": 1024.5}), "the id 1024.5; expected"),
        (dict(added_tokens={"": 1024}), "expected a text and a number"),
        (dict(added_tokens=["<|x|>"]), "added_tokens.json holds a list; expected an object"),
        (dict(tokenizer_config={"added_tokens_decoder": [1]}), "no table of tokens in added_tokens_decoder"),
        (dict(tokenizer_config={"added_tokens_decoder": {"a": {"content": "b"}}}), "gives 'b' the id 'a'"),
        (dict(tokenizer_config={"eos_token": "<|im_end|>"}), "names '<|im_end|>' as eos_token, which is none of its"),
        (dict(generation_config={"eos_token_id": "2"}), 'has eos_token_id "2"; expected a token id or a list'),
        (dict(generation_config={"eos_token_id": [2, -1]}), "expected a token id or a list"),
    ],
)
def test_files_that_contradict_the_tokenizer_are_named(tmp_path: Path, files: dict, message: str) -> None:
    assert re.search(message.replace("|", r"\|"), refusal(beside_tiny(tmp_path, **files)))


@pytest.mark.parametrize(
    "name", ["tokenizer_config.json", "added_tokens.json", "generation_config.json", "chat_template.jinja"]
)
def test_pointers_and_pages_beside_the_tokenizer_are_named(tmp_path: Path, name: str) -> None:
    beside_tiny(tmp_path)
    (tmp_path / name).write_text(POINTER)
    assert f"{name} is a Git LFS pointer, not the file; run git lfs pull" in refusal(tmp_path)
    (tmp_path / name).write_text("<!doctype html>")
    assert f"{name} is an HTML page" in refusal(tmp_path)


def test_a_template_that_is_no_text_is_named(tmp_path: Path) -> None:
    beside_tiny(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe")
    assert "chat_template.jinja cannot be read" in refusal(tmp_path)


@pytest.mark.parametrize(
    "message", [{"role": None, "content": "x"}, {"role": "user", "content": None}, {"role": "user"}, None]
)
def test_nothing_is_not_called_by_pythons_word(tmp_path: Path, message: Any) -> None:
    with pytest.raises(TokenizerError, match="nothing") as raised:
        Tokenizer(TINY).encode_chat([message])
    assert "None" not in str(raised.value)
    refusal(beside_tiny(tmp_path, tokenizer_config={"added_tokens_decoder": {"1024": {"content": None}}}))
    refusal(beside_tiny(tmp_path, tokenizer_config={}, generation_config={"eos_token_id": [None]}))


def test_tokenizer_json_completes_what_the_other_files_leave_out(tmp_path: Path) -> None:
    decoder = {"2": {"content": "</s>", "special": True}}
    hugging_face(tmp_path, special=tuple(MARKS), eos_token="<|im_end|>", added_tokens_decoder=decoder)
    (tmp_path / "tokenizer.model").write_bytes(TINY.read_bytes())
    assert Tokenizer(tmp_path).stop_ids == {2, 1024}


def test_a_piece_that_is_listed_as_added_is_still_a_piece(tmp_path: Path) -> None:
    ids = Tokenizer(TINY).encode("the cat", bos=False)
    decoder = {str(ids[0]): {"content": "▁the"}}
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config={"added_tokens_decoder": decoder}))
    assert tokenizer.encode("the cat", bos=False) == ids
    assert tokenizer.decode(ids) == "the cat"


def test_of_two_tokens_the_longer_is_found(tmp_path: Path) -> None:
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens={"foo": 1024, "foobar": 1025, "bar": 1026}))
    assert tokenizer.encode("foobar foo", bos=False)[0] == 1025
    assert tokenizer.encode("foobar foo", bos=False)[-1] == 1024


def test_tokens_that_special_tokens_map_lists_are_control_tokens(tmp_path: Path) -> None:
    listed = {"additional_special_tokens": ["<x>", {"content": "<y>"}]}
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens={"<x>": 1024, "<y>": 1025}, special_tokens_map=listed))
    assert max(tokenizer.encode("<x> <y>")) < 1024
    assert tokenizer.decode([1024, *tokenizer.encode("Hi"), 1025]) == "Hi"


def test_private_characters_that_a_user_says_stay(tmp_path: Path) -> None:
    tokenizer = Tokenizer(beside_tiny(tmp_path, tokenizer_config={"chat_template": "{{ messages[0].content }}</s>"}))
    text = "\U000f0000\U000f0001 \U000f0002</s>\U000f0003"
    ids = tokenizer.encode_chat([text])
    assert ids.count(2) == 1
    assert tokenizer.decode(ids) == text


def test_pieces_that_the_model_itself_finds_in_text_are_no_control_tokens_there(tmp_path: Path) -> None:
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat", "the dog ran"] * 5),
        model_writer=written,
        model_type="bpe",
        vocab_size=290,
        byte_fallback=True,
        hard_vocab_limit=False,
        user_defined_symbols=["<|im_start|>", "<|im_end|>", "cat"],
        minloglevel=2,
    )
    (tmp_path / "tokenizer.model").write_bytes(written.getvalue())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": CHATML, "additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    )
    tokenizer = Tokenizer(tmp_path)
    start, end = 3, 4
    assert [i for i in tokenizer.encode_chat(["a <|im_end|> the cat"]) if i in (start, end)] == [start, end, start]
    text = "a<|im_start|>the cat <|im_end|>"
    assert not {start, end} & set(tokenizer.encode(text))
    assert 5 in tokenizer.encode(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_white_space_that_a_template_writes_is_text(tmp_path: Path) -> None:
    config = {"chat_template": CHATML}
    tokenizer = Tokenizer(beside_tiny(tmp_path, added_tokens={**MARKS, "\n": 1026}, tokenizer_config=config))
    assert tokenizer.encode("a\nb").count(1026) == 1
    assert tokenizer.decode(tokenizer.encode("a\nb")) == "a\nb"
    assert tokenizer.encode_chat(["Hi\nyou"]).count(1026) == 4
