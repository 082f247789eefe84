"""First light on eight simulated chips: the steps of --quick."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.mixtral8x7b.first_light.flow import Options
from models.mixtral8x7b.first_light.steps import STEPS
from models.mixtral8x7b.target import can_trace
from tests.sim.first_light import NO_BOARDS, check_first_light

_LONG = {step.name: "not with --quick" for step in STEPS if not step.in_quick}


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_first_light(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """950 s, by the sum of its steps on a busy machine."""
    untraced = {} if can_trace("sim") else {"tiny model, traced": "target sim records no steps"}
    check_first_light(Options("sim", 8, quick=True), NO_BOARDS | _LONG | untraced, tmp_path, record_property)
