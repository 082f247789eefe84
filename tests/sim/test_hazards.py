"""What could go wrong on a chip and cannot on the CPU backend: first light's hazards, on simulated chips.

Each test states its seconds, kernels cached.
"""

import pytest
import torch

from models.mixtral8x7b.first_light import hazards
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.hostile import PATTERNS, poison
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.precision import PERFORMANCE
from tests.sim.small import CONFIG
from tests.tt.cases import reference

pytestmark = pytest.mark.timeout(0)  # cold kernels take minutes
CHECKS = Checks(compares=True)


def run(mesh: Mesh) -> torch.Tensor:
    return hazards.logits_of(reference(CONFIG), mesh, PERFORMANCE)


@pytest.fixture(scope="module")
def clean(mesh: Mesh) -> torch.Tensor:
    return run(mesh)


@pytest.mark.router_and_sampler
@pytest.mark.parametrize("pattern", PATTERNS)
def test_what_was_in_memory_changes_nothing(mesh: Mesh, clean: torch.Tensor, pattern: str) -> None:
    """35 s each: all DRAM that the model will get, and 1.3 of 1.4 MB of each core's L1, hold the pattern."""
    poison(mesh, PATTERNS[pattern])
    assert torch.equal(run(mesh), clean)


@pytest.mark.router_and_sampler
def test_a_program_repeats_after_others(mesh: Mesh, clean: torch.Tensor) -> None:
    """35 s: the same bits after everything else that ran in this process."""
    assert torch.equal(run(mesh), clean)


@pytest.mark.router_and_sampler
def test_the_logits_are_the_references(mesh: Mesh, clean: torch.Tensor) -> None:
    hazards.logits_are_the_references(reference(CONFIG), clean, CHECKS)


def test_decode_attention_at_every_edge(mesh: Mesh) -> None:
    """1 s."""
    hazards.attention_at_every_edge(mesh, PERFORMANCE, CHECKS)


def test_the_cache_update_writes_its_row_and_no_other(mesh: Mesh) -> None:
    """1 s."""
    hazards.cache_update_writes_its_row(mesh, CHECKS)


def test_zeros_are_a_fill_and_no_product(mesh: Mesh) -> None:
    """1 s."""
    hazards.zeros_are_a_fill(mesh, CONFIG, PERFORMANCE, CHECKS)


@pytest.mark.router_and_sampler
def test_greedy_ids_are_the_argmax(mesh: Mesh) -> None:
    """1 s."""
    hazards.greedy_ids_are_the_argmax(mesh, CHECKS)


@pytest.mark.router_and_sampler
def test_seeds_decide_the_draws(mesh: Mesh) -> None:
    """2 s."""
    hazards.seeds_decide_the_draws(mesh, CHECKS)


@pytest.mark.router_and_sampler
def test_what_ran_between_changes_no_draw(mesh: Mesh) -> None:
    """4 s."""
    hazards.work_in_between_changes_no_draw(mesh, CHECKS)
