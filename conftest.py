"""Options and fixtures shared by tests/ and demo/. Imports no ttnn: pytest_configure decides which one there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from models.mixtral8x7b.target import TARGETS, TargetError, chosen_target, use_target


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mixtral")
    group.addoption("--target", help=f"{', '.join(TARGETS)} (default: MIXTRAL_TARGET, else device where chips are)")
    group.addoption("--users", type=int, metavar="N", help="demo: 1 to 32 users instead of the id's own number")
    group.addoption("--max-new-tokens", type=int, default=50, metavar="N", help="demo: tokens for each user (50)")
    group.addoption("--prompts", type=Path, metavar="FILE", help='demo: a JSON list of {"prompt": "..."}')
    group.addoption("--prefill", type=int, metavar="N", help="demo: prompt tokens to prefill, the rest is decoded")
    group.addoption("--precision", default="performance", help="demo: performance or accuracy")
    group.addoption("--cache-only", action="store_true", help="demo: refuse to convert weights")


def pytest_configure(config: pytest.Config) -> None:
    try:
        use_target(chosen_target(config.getoption("--target")))
    except TargetError as error:
        raise pytest.UsageError(str(error)) from error


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> str:
    return chosen_target(pytestconfig.getoption("--target"))


@pytest.fixture
def mesh(request: pytest.FixtureRequest) -> Iterator:
    """An opened mesh of as many chips as the parameter says.

    Test ids that people know from the original demo begin with `wormhole_b0-True`: the architecture, and "use a mesh
    with dispatch on ethernet cores". Both are always so here, so one parameter, 8 chips, carries both parts of the id.
    """
    from models.mixtral8x7b.tt.mesh import open_mesh

    with open_mesh(request.param) as opened:
        yield opened
