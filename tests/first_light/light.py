"""First light as tests run it."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from models.mixtral8x7b.first_light.flow import FirstLight, Options
from models.mixtral8x7b.first_light.state import State
from models.mixtral8x7b.first_light.steps import STEPS, Step
from models.mixtral8x7b.machine import DESIGNED

ROOT = Path(__file__).resolve().parents[2]


def steps(*names: str, limit_s: int = 300, needs: tuple[str, ...] = ()) -> list[Step]:
    """Of the real ones, with nothing needed before."""
    return [replace(step, limit_s=limit_s, needs=needs) for name in names for step in STEPS if step.name == name]


def light(
    folder: Path,
    child: Sequence[str],
    which: Sequence[Step],
    chips: int = 2,
    has_boards: bool = False,
    go_on: bool = False,
    target: str = "cpu",
) -> tuple[FirstLight, list[str]]:
    """Not run yet, and the list of what it says. What an earlier one left in the folder counts."""
    said: list[str] = []
    options = Options(target, chips, quick=True, has_boards=has_boards, steps=which, child=child)
    state = State.read(folder / "state.json", {"of": "a test"}, DESIGNED)

    def asked(following: str) -> bool:
        said.append(f"asked: {following}")
        return go_on

    return FirstLight(options, state, folder, said.append, asked), said


def faulty(fault: str) -> list[str]:
    """The process of a step on a machine with this fault."""
    return [sys.executable, "-m", "tests.first_light.faulty", fault]


def stub(of: str) -> list[str]:
    """A process that has no model: the lines see `asked` and `notes`, and end as the real one does."""
    return [sys.executable, "-c", STUB.format(of)]


STUB = """
import os, sys, time
from pathlib import Path
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.verdicts import Verdict
asked, notes = Asked.read(Path(sys.argv[1])), Notes(Path(sys.argv[2]))
with open("ran", "a") as ran:
    print(asked.step, asked.machine.fabric, file=ran)
notes.doing("reduce_scatter, repeat 37 of 100", "joins")
{}
notes.far("as expected")
notes.fact("a fact of " + asked.step, 1)
notes.end(Verdict.RIGHT)
"""
