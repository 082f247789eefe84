"""The first day with chips: is all of it right, and as fast as expected?"""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.options import Checkpoint, Chips, Fabric, Precision, Target, settings_with
from models.mixtral8x7b.target import T3000_CHIPS, TARGETS, chosen_target


def first_light(
    quick: Annotated[bool, Option("--quick", help="The steps that matter most, in under 2 minutes of chips.")] = False,
    again: Annotated[bool, Option("--again", help="Begin anew: results of earlier runs do not count.")] = False,
    report: Annotated[
        Path, Option("--report", metavar="FILE", help="Is written: to attach to an issue. No names, no paths.")
    ] = Path("first-light-report.md"),
    checkpoint: Checkpoint = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
) -> None:
    """Check the machine, the chips and the model on them, step by step.

    Each step runs in a process of its own with a time limit. What fails is told for what it is, with what to do; what
    works in its place is tried, and written to machine.json in the user's cache, which every command reads. A run that
    was stopped goes on where it was. Exit code 1 unless everything is right.
    """
    chosen = chosen_target(target)
    if chosen not in TARGETS:
        raise UsageMistake(f"--target is {chosen!r}; expected one of {', '.join(TARGETS)}")
    if chips not in (1, 2, 4, 8):
        raise UsageMistake(f"--chips is {chips}; expected 1, 2, 4 or 8")
    if not report.absolute().parent.is_dir():
        raise UsageMistake(f"--report is {report}, and its folder is not there; expected one that is")
    from models.mixtral8x7b.first_light.flow import Options
    from models.mixtral8x7b.first_light.session import Session
    from models.mixtral8x7b.machine import asked_machine

    settings = settings_with(checkpoint)
    options = Options(chosen, chips, precision, quick, settings.checkpoint, has_boards=chosen == "device")
    session = Session(options, settings.user_cache, asked_machine(fabric), again)
    print(f"mixtral: {session.title}", file=sys.stderr, flush=True)
    session.run(report, _say, _go_on)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _go_on(following: str) -> bool:
    """Asks on a terminal; elsewhere the chips stay as they are."""
    if sys.stdin is None or not sys.stdin.isatty():
        return False
    print(
        f"reset the boards, then press Enter to go on with {following}; q ends: ", end="", file=sys.stderr, flush=True
    )
    return sys.stdin.readline().strip().lower() not in ("q", "quit")
