"""First light on simulated chips, its steps in processes of their own."""

from pathlib import Path

import pytest

from models.mixtral8x7b.first_light import runner
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.steps import STEPS
from models.mixtral8x7b.first_light.verdicts import Verdict
from models.mixtral8x7b.machine import DESIGNED


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", ["chips", "operations", "hazards", "tiny model, one chip"])
def test_first_light(name: str, tmp_path: Path) -> None:
    """3 s, 170 s, 90 s and 95 s, kernels cold, on a busy machine."""
    (step,) = (step for step in STEPS if step.name == name)
    found = runner.run(Asked(step.name, step.function, "sim", 1, DESIGNED, quick=True), tmp_path, step.limit_s)
    assert found.verdict is Verdict.RIGHT, found.said
