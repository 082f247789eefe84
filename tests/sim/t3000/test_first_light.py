"""First light on eight simulated chips."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.mixtral8x7b.target import can_trace
from tests.sim.first_light import NO_BOARDS, NO_WEIGHTS, check_first_light

_TRACED = ("tiny model, one chip, traced", "tiny model, traced")


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_first_light(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    untraced = {} if can_trace("sim") else dict.fromkeys(_TRACED, "target sim records no steps")
    check_first_light(8, NO_BOARDS | untraced | NO_WEIGHTS, tmp_path, record_property)
