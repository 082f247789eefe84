"""The whole tiny checkpoint as chips compute it, and what simulated chips made of it: the same figures, digit by digit.

Three minutes: of `make test-full` only. .venv/bin/python -m pytest tests/long/test_chip_values.py
"""

from pathlib import Path

import pytest

from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.tt.precision import PRESETS
from tests.chip_table import STORIES, run
from tests.sim import verdicts
from tests.sim.stories import Work
from tests.thresholds import BOUNDS

ONE, EIGHT = "tests/sim/full/test_whole_model.py::test_stories", "tests/sim/t3000/test_t3000.py::test_stories"
CASES = [(f"{ONE}[{preset}]", preset, 1, STORIES) for preset in PRESETS] + [
    (EIGHT, "performance", 8, Work("decode", 3))
]


@pytest.fixture(scope="module")
def repacked(tmp_path_factory) -> Path:
    return tiny_checkpoint("instruct", tmp_path_factory.mktemp("tiny"))


@pytest.mark.parametrize(
    ("test", "preset", "n_chips", "work"), CASES, ids=[case[0].partition("::")[2] for case in CASES]
)
def test_stories(test: str, preset: str, n_chips: int, work: Work, repacked: Path) -> None:
    simulated = verdicts.read()["changed"]["tests"][test]["measured"]["against the reference"]
    assert str(run(repacked, preset, n_chips, True, work).agreement) == simulated


@pytest.mark.parametrize("preset", PRESETS)
def test_eight_chips_are_as_good_as_rounding_once(preset: str, repacked: Path) -> None:
    chip, once = (run(repacked, preset, 8, as_chips) for as_chips in (True, False))
    bounds = BOUNDS[preset]
    assert chip.agreement.pcc > once.agreement.pcc - 0.0005
    assert chip.agreement.top_1_decided == 1.0
    assert chip.agreement.top_5 >= bounds.top_5
    assert abs(chip.perplexity / once.perplexity - 1) < bounds.perplexity
    assert not chip.logits.equal(once.logits)
