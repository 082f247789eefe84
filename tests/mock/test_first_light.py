"""First light's calls are taken by the real ttnn: steps in processes of their own, on a mocked T3000."""

from pathlib import Path

from models.mixtral8x7b.first_light import runner
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.steps import STEPS
from models.mixtral8x7b.first_light.verdicts import Verdict
from models.mixtral8x7b.machine import Machine


def test_every_call_is_taken_also_with_all_fallbacks(tmp_path: Path) -> None:
    machine = Machine("line", "off", 64, "HiFi2")
    for step in STEPS:
        if step.name in ("chips", "operations", "hazards"):
            asked = Asked(step.name, step.function, "mock", 8, machine, quick=True)
            found = runner.run(asked, tmp_path, step.limit_s)
            assert found.verdict is Verdict.CALLED, found.said
