"""The sim tier: the real kernels on simulated chips. Collected under `--target sim` only.

    MIXTRAL_SIMULATOR=<ttsim> .venv/bin/python -m pytest --target sim --chips 1 tests/sim

Whole models and 8 chips are in tests/sim/full and tests/sim/t3000: `make sim-full`. With `--verdicts LABEL` what came
out is kept in tests/data/simulated.json under this label, `released` or `changed`: docs/silicon.md is made of it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import chosen_target
from tests.sim.own_process import start
from tests.sim.verdicts import LABELS, Verdicts

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh

# ttsim as released ends the process at these instructions; docs/silicon.md says what was changed where it does not
_PROBE = """
from models.mixtral8x7b.target import use_target
use_target("sim", {0})
import torch, ttnn
from models.mixtral8x7b.tt.mesh import open_mesh
with open_mesh({0}) as mesh:
    logits = mesh.put(torch.randn(1, 1, 32, 64), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    mesh.read_replicated(ttnn.topk(logits, 64, dim=-1, largest=True, sorted=True, stable=True)[0])
"""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    return None if _is_sim(config) or collection_path.name == "conftest.py" else True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not _is_sim(config):
        terminalreporter.write_line("left out: tests/sim, the kernels on simulated chips (it runs alone: make sim)")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("mixtral").addoption(
        "--verdicts", choices=LABELS, help="sim: keep what comes out, as that of this simulator"
    )


def pytest_configure(config: pytest.Config) -> None:
    if _is_sim(config) and config.getoption("--verdicts"):
        config.pluginmanager.register(Verdicts(config.getoption("--verdicts"), config.getoption("--chips") or 8))
    config.addinivalue_line("markers", "stable_topk: needs a simulator that runs the kernel of topk(stable=True)")


def _is_sim(config: pytest.Config) -> bool:
    return chosen_target(config.getoption("--target")) == "sim"


@pytest.fixture(scope="session")
def mesh(pytestconfig: pytest.Config) -> Iterator["Mesh"]:
    from models.mixtral8x7b.tt.mesh import open_mesh

    with open_mesh(pytestconfig.getoption("--chips") or 8) as opened:
        yield opened


@pytest.fixture(scope="session")
def repacked() -> Path:
    """The trained tiny instruct checkpoint."""
    return tiny_checkpoint("instruct", Settings.from_environment().user_cache)


@pytest.fixture(scope="session")
def has_stable_topk(pytestconfig: pytest.Config) -> bool:
    """Asked in another process, because a refusal ends it."""
    asked = start(["-c", _PROBE.format(pytestconfig.getoption("--chips") or 8)])
    if asked.returncode and "the simulator gave up during ttnn.topk" not in asked.stderr:
        pytest.fail(f"the simulator does not work here: {asked.stderr[-2000:]}", pytrace=False)
    return asked.returncode == 0


@pytest.fixture(autouse=True)
def _needs_stable_topk(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("stable_topk") and not request.getfixturevalue("has_stable_topk"):
        pytest.skip("this simulator refuses topk(stable=True), which the router and the sampler call")
