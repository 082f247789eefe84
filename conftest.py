"""Options and fixtures shared by tests/ and demo/. Imports no ttnn: pytest_configure decides which one there is."""

import atexit
import os
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest

from models.mixtral8x7b.machine import chosen_machine
from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.program import show_everything
from models.mixtral8x7b.target import T3000_CHIPS, TARGETS, chosen_target, use_target


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mixtral")
    group.addoption("--target", help=f"{', '.join(TARGETS)} (default: MIXTRAL_TARGET, else device where chips are)")
    group.addoption("--chips", type=int, metavar="N", help="demo and sim: chips to open (8)")
    group.addoption("--fabric", help="demo: ring or line (default: MIXTRAL_FABRIC, else ring)")
    group.addoption("--users", type=int, metavar="N", help="demo: 1 to 32 users instead of the id's own number")
    group.addoption("--max-new-tokens", type=int, default=50, metavar="N", help="demo: tokens for each user (50)")
    group.addoption("--prompts", type=Path, metavar="FILE", help='demo: a JSON list of {"prompt": "..."}')
    group.addoption("--prefill", type=int, metavar="N", help="demo: prompt tokens to prefill, the rest is decoded")
    group.addoption("--precision", default="performance", help="demo: performance, accuracy, mixed or bfp4")
    group.addoption("--cache-only", action="store_true", help="demo: refuse to convert weights")


def pytest_configure(config: pytest.Config) -> None:
    capture = config.pluginmanager.getplugin("capturemanager")  # none with -p no:capture
    with capture.global_and_fixture_disabled() if capture else nullcontext():  # `sim` starts what needs the true stderr
        show_everything()
        try:
            use_target(chosen_target(config.getoption("--target")), config.getoption("--chips") or T3000_CHIPS)
        except Mistake as error:
            raise pytest.UsageError(str(error)) from error


def pytest_unconfigure(config: pytest.Config) -> None:
    """ttnn complains at exit, in a hundred lines, of each of its objects that pytest still holds: nobody reads them."""
    if chosen_target(config.getoption("--target")) in ("mock", "sim"):
        atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))


@pytest.fixture(scope="session")
def target(pytestconfig: pytest.Config) -> str:
    return chosen_target(pytestconfig.getoption("--target"))


@pytest.fixture
def mesh(request: pytest.FixtureRequest) -> Iterator:
    """An opened mesh of as many chips as --chips or else the parameter says.

    Test ids that people know from the original demo begin with `wormhole_b0-True`: the architecture, and "use a mesh
    with dispatch on ethernet cores". Both are always so here, so one parameter, 8 chips, carries both parts of the id.
    """
    from models.mixtral8x7b.tt.mesh import open_mesh

    n_chips = request.config.getoption("--chips") or request.param
    target = chosen_target(request.config.getoption("--target"))
    machine = chosen_machine(target, request.config.getoption("--fabric"))
    with ExitStack() as stack:
        try:
            opened = stack.enter_context(open_mesh(n_chips, machine.fabric))
        except Mistake as mistake:
            raise pytest.fail.Exception(str(mistake), pytrace=False) from None
        yield opened
