"""First light as its owner runs it, on simulated chips: its steps in the sizes that they have there."""

from collections.abc import Callable
from pathlib import Path

from models.mixtral8x7b.first_light.flow import FirstLight, Options
from models.mixtral8x7b.first_light.state import State
from models.mixtral8x7b.first_light.verdicts import Verdict
from models.mixtral8x7b.machine import DESIGNED

NO_BOARDS = dict.fromkeys(("driver", "firmware", "huge pages"), "means nothing on target sim")


def check_first_light(
    options: Options, left_out: dict[str, str], folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """Every step is right, at first and as designed, but for those that are left out, with this reason."""
    light = FirstLight(options, State(folder / "state.json", {}, DESIGNED), folder, print, lambda _: False)
    light.run()
    found = light.results
    for name, result in found.items():
        if result.verdict is not Verdict.LEFT_OUT:
            record_property(name, f"{result.verdict.value}, {result.seconds:.0f} s, {result.far}")
    assert {name: result.said for name, result in found.items() if result.verdict is Verdict.LEFT_OUT} == left_out
    wrong = {name: result.said for name, result in found.items() if name not in left_out and not result.verdict.is_good}
    assert not wrong
    assert light.machine == DESIGNED
