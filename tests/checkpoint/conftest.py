from pathlib import Path

import pytest

from models.mixtral8x7b.reference.model import Transformer
from tests.tiny_models import random_model, small_config, write_consolidated


@pytest.fixture(scope="session")
def model() -> Transformer:
    return random_model(small_config())


@pytest.fixture
def source(model: Transformer, tmp_path: Path) -> Path:
    """A consolidated checkpoint of the model in three files."""
    write_consolidated(model, tmp_path / "source")
    return tmp_path / "source"
