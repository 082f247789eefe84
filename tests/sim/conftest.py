"""The sim tier: the real kernels on simulated chips. Collected under `--target sim` only.

    MIXTRAL_SIMULATOR=<ttsim> .venv/bin/python -m pytest --target sim --chips 1 tests/sim

Whole models and 8 chips are in tests/sim/full and tests/sim/t3000: `make sim-full`. With `--verdicts LABEL` what came
out is kept in tests/data/simulated.json under this label, `released` or `changed`: docs/silicon.md is made of it.
"""

import re
from collections.abc import Iterator
from functools import cache
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

# What the router and the sampler call, which ttsim as released does not run; docs/silicon.md says what was changed.
_PROBE = """
from models.mixtral8x7b.target import use_target
use_target("sim", {0})
import torch, ttnn
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.precision import HIFI3_FP32
from models.mixtral8x7b.tt.sampler import Sampler
with open_mesh({0}) as mesh:
    scores = mesh.put(torch.randn(1, 1, 32, 64), ttnn.float32, ttnn.TILE_LAYOUT)
    best, _ = ttnn.topk(scores, 32, dim=-1, largest=True, sorted=True, stable=True)
    nothing = mesh.put(torch.zeros(1, 1, 1, 32), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    mesh.read_replicated(ttnn.scale_mask_softmax(best, mask=nothing, compute_kernel_config=HIFI3_FP32))
    sampler, ids = Sampler(1024, mesh), mesh.put(torch.zeros(1, 1, 1, 32, dtype=torch.int32), ttnn.uint32)
    sampler.set([GREEDY] * 32)
    logits = torch.randn(1, 1, 32, 1024 // mesh.n_devices)
    sampler.forward(mesh.put(logits, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=ttnn.L1_MEMORY_CONFIG), ids)
    mesh.read_replicated(ids)
"""
_GAVE_UP = re.compile(r"the simulator gave up (.*) \(its log")


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
    config.addinivalue_line("markers", "router_and_sampler: needs a simulator that runs the kernels of both")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leaves a test out before its fixtures are made: they would end this process where the simulator gives up."""
    if item.get_closest_marker("router_and_sampler"):
        refusal = _refusal(item.config.getoption("--chips") or 8)
        if refusal is not None:
            pytest.skip(f"this simulator gives up {refusal}")


@cache
def _refusal(n_chips: int) -> str | None:
    """What of the router and the sampler this simulator does not run. In another process, which a refusal ends."""
    asked = start(["-c", _PROBE.format(n_chips)])
    if asked.returncode == 0:
        return None
    gave_up = _GAVE_UP.search(asked.stderr)
    if gave_up is None:
        pytest.fail(f"the simulator does not work here: {asked.stderr[-2000:]}", pytrace=False)
    return gave_up[1]


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
