"""A decode step that is told to notes the experts that the reference chooses; a plain one does nothing for it."""

from functools import partial

import pytest
import torch
import ttnn

import ttnn_cpu
from models.mixtral8x7b.config import MoeConfig, Routing
from models.mixtral8x7b.reference.router import route
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.warm_up import warm_up
from models.mixtral8x7b.tt.weights import EmptyWeights
from tests.tt.cases import DEVICES, exact_mesh, random_ids, reference, sliceable_config
from tests.tt.prefill_cases import build, scattered_blocks

POSITIONS = 5


@pytest.mark.parametrize("n_devices", DEVICES)
@pytest.mark.parametrize("moe", [MoeConfig(8, 2), MoeConfig(16, 3, Routing.NONE), MoeConfig(8, 1)], ids=str)
def test_choices_equal_the_references(n_devices: int, moe: MoeConfig) -> None:
    config = sliceable_config(moe=moe, n_layers=3)
    ids = random_ids(config, 32, POSITIONS)
    logits: dict[str, torch.Tensor] = {}
    reference(config)(ids, observe=logits.__setitem__)
    expected = torch.stack(
        [
            route(logits[f"layers.{layer}.feed_forward.router_logits"], moe)[1].view(32, POSITIONS, -1)
            for layer in range(3)
        ]
    )
    with exact_mesh(n_devices) as mesh:
        model = build(mesh, 32, 64, config=config, notes_experts=True)
        assert model.choices is not None
        model.state.set_blocks(scattered_blocks(32, 64))
        for position in range(POSITIONS):
            model.state.set_rows(ids[:, position].tolist(), [position] * 32)
            model.step(model.choices)
            assert torch.equal(model.choices.read(), expected[:, :, position])


def test_a_plain_step_makes_no_further_call() -> None:
    """Whether there are choices or not; a step that notes them copies once a layer and reads nothing."""
    with ttnn_cpu.specs_only(), open_mesh(8) as mesh:
        config = sliceable_config()
        names, crossed = [], []
        for notes, told in ((False, False), (True, False), (True, True)):
            model = Mixtral(EmptyWeights(config, mesh), mesh, PERFORMANCE, 8, 512, notes_experts=notes)
            with ttnn_cpu.record(ttnn) as calls:
                model.step(model.choices if told else None)
            names.append([call.name for call in calls])
            crossed.append(calls.host_reads + calls.host_writes)
        plain, with_choices, noting = names
        assert plain == with_choices
        assert [name for name in noting if name != "copy"] == plain
        assert len(noting) - len(plain) == config.n_layers
        assert crossed == [0, 0, 0]


def test_two_recorded_steps_take_turns() -> None:
    """They share rows, cache and sampling: whichever runs, the next one goes on from it, as plain steps do."""
    ids = random_ids(sliceable_config(), 3, 1)[:, 0].tolist()
    turns = (False, True, True, False, False, True)
    with open_mesh(8) as mesh:

        def run(recorded: bool) -> tuple[list[list[int]], list[torch.Tensor]]:
            model = build(mesh, 3, 64, notes_experts=True)
            choices = model.choices
            assert isinstance(choices, ExpertChoices)
            plain, noting = model.step, partial(model.step, choices)
            if recorded:
                warm_up(model)
                plain, noting = TracedStep(mesh, plain), TracedStep(mesh, noting)
                plain.record()
                noting.record()
            model.state.set_blocks([[0], [1], [2]])
            model.state.set_rows(ids + [0] * 29, [0] * 3 + [-1] * 29)
            tokens, noted = [], []
            for told in turns:
                (noting if told else plain)()
                tokens.append(model.state.read_tokens()[:3])
                noted.append(choices.read()[:, :3])
            if isinstance(plain, TracedStep) and isinstance(noting, TracedStep):
                plain.release()
                noting.release()
            return tokens, noted[1:]

        (tokens, noted), (expected, all_noted) = run(True), run(False)
        assert tokens == expected
        assert all(torch.equal(one, other) for one, other in zip(noted, all_noted, strict=True))
        assert not torch.equal(noted[0], noted[1])
        assert torch.equal(noted[1], noted[2]), "a plain step notes nothing"
