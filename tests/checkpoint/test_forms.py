"""The rows of docs/checkpoints.md: repacked with transformers' logits, or refused in one sentence with nothing left."""

from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.reference.model import Transformer
from tests.checkpoint.form_rows import Row
from tests.checkpoint.page import PAGE, ROWS, line
from tests.checkpoint.published import SIZES, hf_logits, model

IDS = torch.arange(70)[None] * 7 % 96


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_a_checkpoint_becomes_what_the_page_says(row: Row, tmp_path: Path) -> None:
    said, out = line(row, tmp_path), tmp_path / "out"
    assert ("| refused: " in said) == row.is_refused, said
    assert said in PAGE.read_text().splitlines(), "make it anew: .venv/bin/python -m tests.checkpoint.page"
    if row.is_refused:
        assert not (out / "manifest.json").exists()
        return
    sizes = {name: value for name, value in row.truth.items() if isinstance(SIZES[name], int)}
    theirs = hf_logits(IDS, model(**sizes), **row.truth)
    assert (Transformer.from_repacked(out)(IDS) - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_the_page_has_no_other_rows() -> None:
    assert sum(text.startswith("| ") for text in PAGE.read_text().splitlines()) == len(ROWS) + 3
