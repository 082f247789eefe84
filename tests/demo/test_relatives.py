"""The demo with models that are not Mixtral 8x7B: fewer experts than chips, more vocabulary than tokens."""

import shutil
from pathlib import Path

import pytest

from demo.run import Tokenizer
from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.tiny import CHECKPOINTS
from models.mixtral8x7b.config import MoeConfig
from tests.demo.test_demo import cache, run  # noqa: F401
from tests.tiny_models import random_model, write_consolidated
from tests.tt.cases import sliceable_config

TWO_USERS = ("--users", 2, "--max-new-tokens", 4)


def repacked(folder: Path, **changes: object) -> Path:
    """A random model with the tiny checkpoint's tokenizer of 1024 tokens. Columns beyond these have the best logits."""
    model = random_model(sliceable_config(**changes))
    model.output.weight[1024:] *= 50
    write_consolidated(model, folder / "published")
    shutil.copy(CHECKPOINTS / "mixtral-tiny-instruct" / "tokenizer.model", folder / "published")
    repack(folder / "published", folder / "repacked")
    return folder / "repacked"


def test_fewer_experts_than_chips(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(repacked(tmp_path, vocab_size=1024, moe=MoeConfig(4, 2))))
    _, message = run(*TWO_USERS)
    assert message.startswith("demo: moe.num_experts is 4, which does not divide over 8 chips; use --chips 1, 2 or 4 (")
    printed, message = run(*TWO_USERS, "--chips", 4)
    assert message == ""
    assert "New tokens           8 in" in printed


def test_ids_beyond_the_tokenizers_are_never_answered(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIXTRAL_CKPT_DIR", str(repacked(tmp_path, vocab_size=1280)))
    monkeypatch.setattr(Tokenizer, "check_vocab_size", lambda self, expected: None)
    answered: list[int] = []
    decode = Tokenizer.decode
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: answered.extend(ids) or decode(self, ids))
    _, message = run(*TWO_USERS)
    assert message == ""
    assert len(answered) >= 2
    assert max(answered) < 1024
