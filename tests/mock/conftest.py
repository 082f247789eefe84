"""The mock tier: the real ttnn on a mocked T3000. Collected under `--target mock` only.

.venv/bin/python -m pytest --target mock tests/mock
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.mixtral8x7b.target import chosen_target
from tests.mock.records import Records, make_records
from virtual_t3000 import VirtualChipsError
from virtual_t3000.runtime_root import installed_ttnn

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if _is_mock(config) or collection_path.name == "conftest.py" else True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if _is_mock(config):
        return
    try:
        installed_ttnn()
        reason = "it runs alone: pytest --target mock tests/mock"
    except VirtualChipsError as error:
        reason = str(error)
    terminalreporter.write_line(f"left out: tests/mock, the real ttnn on a mocked T3000 ({reason})")


def _is_mock(config: pytest.Config) -> bool:
    return chosen_target(config.getoption("--target")) == "mock"


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    return make_records(tmp_path_factory.mktemp("records"))


@pytest.fixture(scope="module")
def mesh() -> Iterator["Mesh"]:
    from models.mixtral8x7b.tt.mesh import open_mesh

    with open_mesh(8) as opened:
        yield opened
