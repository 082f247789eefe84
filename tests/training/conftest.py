"""The committed tiny checkpoints, repacked once for all tests of this folder, and their tokenizer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The tensors here are small: a second thread gains little, and on a busy machine the first waits for it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer(CHECKPOINTS / "mixtral-tiny-instruct")


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    return _load("mixtral-tiny", "base", tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def instruct_model(tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    return _load("mixtral-tiny-instruct", "instruct", tmp_path_factory.mktemp("instruct"))


def _load(name: str, flavour: str, scratch: Path) -> Transformer:
    repack(CHECKPOINTS / name, scratch / name, flavour)
    return Transformer.from_repacked(scratch / name)
