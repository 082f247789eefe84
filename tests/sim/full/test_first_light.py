"""First light on one simulated chip: all steps but those of boards, of several chips and of real weights."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models.mixtral8x7b.first_light.flow import Options
from tests.sim.first_light import NO_BOARDS, check_first_light

_LEFT_OUT = (
    NO_BOARDS
    | dict.fromkeys(("collectives", "tiny model", "tiny model, traced"), "there is one chip")
    | dict.fromkeys(
        ("what the cost model expects", "Mixtral's answers", "Mixtral's speed"),
        "there are no weights; set MIXTRAL_CKPT_DIR to a repacked checkpoint",
    )
)


@pytest.mark.router_and_sampler
@pytest.mark.timeout(0)
def test_first_light(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    """800 s, by the sum of its steps: in fast dispatch, so that a step is recorded and replayed as well."""
    monkeypatch.setenv("MIXTRAL_SIM_DISPATCH", "fast")
    monkeypatch.delenv("TT_METAL_SLOW_DISPATCH_MODE", raising=False)  # of this process, and not for its children
    check_first_light(Options("sim", 1), _LEFT_OUT, tmp_path, record_property)
