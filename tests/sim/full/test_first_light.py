"""First light on one simulated chip."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sim.first_light import NO_BOARDS, NO_WEIGHTS, check_first_light

_ALONE = dict.fromkeys(("collectives", "tiny model", "tiny model, traced"), "there is one chip")


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_first_light(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """In fast dispatch, so that a step is recorded and replayed as well."""
    monkeypatch.setenv("MIXTRAL_SIM_DISPATCH", "fast")
    monkeypatch.delenv("TT_METAL_SLOW_DISPATCH_MODE", raising=False)  # of this process, and not for its children
    check_first_light(1, NO_BOARDS | _ALONE | NO_WEIGHTS, tmp_path, record_property)
