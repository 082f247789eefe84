"""A recorded step on a simulated chip. Traces need fast dispatch, and so a process of their own."""

import pytest

from tests.sim.own_process import run

_STEPS = """
from models.mixtral8x7b.target import can_trace, use_target
use_target("sim", 1)
assert can_trace("sim")
import torch
from models.mixtral8x7b.sampling import GREEDY, SamplingParams
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.traced_step import TracedStep
from tests.sim.small import ROWS, model_of, prompts_of

def tokens_of(step, model):
    prompts = prompts_of([1] * 4)
    model.state.set_rows([p.ids[0] for p in prompts] + [0] * 28, [0] * 4 + [-1] * 28)
    model.state.set_blocks([*(list(p.blocks) for p in prompts), *[[]] * 28])
    model.sampler.set([GREEDY] * 2 + [SamplingParams(2.0, seed=row) for row in range(ROWS - 2)])
    found = []
    for _ in range(4):
        step()
        found.append(model.state.read_tokens()[:4])
    return found

with open_mesh(1) as mesh:
    model = model_of(mesh, n_blocks=8, context=64)
    eager = tokens_of(model.step, model)
    traced = TracedStep(mesh, model.step)
    assert tokens_of(traced, model) == eager, eager
    assert tokens_of(traced, model) == eager, eager
    traced.release()
print("same")
"""


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_traced_equals_eager() -> None:
    """15 s: a plain step, a recorded one and replays give the ids of eager steps, drawn ones too, from any inputs."""
    assert run(["-c", _STEPS], MIXTRAL_SIM_DISPATCH="fast").endswith("same\n")
