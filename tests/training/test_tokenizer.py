"""The tiny checkpoints' own tokenizer; how any tokenizer is used is tested with models/mixtral8x7b/tokenizer."""

from pathlib import Path

import pytest

from models.mixtral8x7b.tokenizer import Tokenizer
from training.corpus import rows
from training.tokenizer import VOCAB_SIZE, train_tokenizer
from training.train import SEED


def test_the_committed_file_is_what_the_program_makes(tmp_path: Path, tokenizer: Tokenizer) -> None:
    for name in ("first", "again"):
        train_tokenizer(tmp_path / name, SEED)
        assert (tmp_path / name).read_bytes() == tokenizer.file.read_bytes()


def test_both_flavours_have_the_same_tokenizer(tokenizer: Tokenizer) -> None:
    base = tokenizer.file.parents[1] / "mixtral-tiny" / "tokenizer.model"
    assert base.read_bytes() == tokenizer.file.read_bytes()


def test_special_pieces_are_mistrals(tokenizer: Tokenizer) -> None:
    assert VOCAB_SIZE == tokenizer.vocab_size == 1024
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert tokenizer.encode("A cow says moo.")[0] == 1


@pytest.mark.parametrize(
    "text",
    ["A cow says moo.", "two  spaces ", "  leading", "Zürich 東京 🦊", "tab\tand\nline", "\ufb01 ﬁ Å", "7 + 12", ""],
)
def test_any_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_corpus_comes_back(tokenizer: Tokenizer) -> None:
    for row in rows("base", 5, 20_000):
        assert tokenizer.decode(tokenizer.encode(row.text)) == row.text


def test_unknown_characters_become_bytes(tokenizer: Tokenizer) -> None:
    bytes_of_fox = [3 + byte for byte in "🦊".encode()]  # pieces 3 to 258 are the bytes 0 to 255
    assert tokenizer.encode("🦊")[-4:] == bytes_of_fox


def test_digits_are_pieces_of_their_own(tokenizer: Tokenizer) -> None:
    assert len(tokenizer.encode("31", bos=False)) == 1 + len(tokenizer.encode("3", bos=False))
