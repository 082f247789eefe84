"""Order, fallbacks, resets and resuming, with processes that have no model.

.venv/bin/python -m pytest --target cpu tests/first_light/test_flow.py
"""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from models.mixtral8x7b.first_light.verdicts import Verdict
from tests.first_light.light import light, steps, stub

RIGHT = stub("")
RING_HANGS = stub("if asked.machine.fabric == 'ring': time.sleep(60)")
ALL_HANGS = stub("time.sleep(60)")
TWO = ("collectives", "operations")


def ran(folder: Path) -> list[str]:
    return (folder / "ran").read_text().splitlines()


def test_what_is_right_is_known_the_next_time(tmp_path: Path) -> None:
    for _ in range(2):
        running, said = light(tmp_path, RIGHT, steps(*TWO))
        running.run()
        assert [result.verdict for result in running.results.values()] == [Verdict.RIGHT] * 2
        assert running.results["operations"].facts == {"a fact of operations": "1"}
    assert ran(tmp_path) == ["collectives ring", "operations ring"]
    assert said == [f"{name}: right, known from before" for name in TWO]


def test_a_hang_of_the_ring_gives_the_line_to_all_that_follows(tmp_path: Path) -> None:
    running, said = light(tmp_path, RING_HANGS, steps(*TWO, limit_s=2))
    running.run()
    assert running.results["collectives"].instead == "fabric line for ring"
    assert running.machine.fabric == "line"
    assert ran(tmp_path) == ["collectives ring", "collectives line", "operations line"]
    assert "collectives: hang in 2." in "\n".join(said)
    assert "no end after 2 s while reduce_scatter, repeat 37 of 100" in "\n".join(said)


def test_boards_that_hang_are_reset_by_their_owner_before_it_goes_on(tmp_path: Path) -> None:
    running, said = light(tmp_path, RING_HANGS, steps(*TWO, limit_s=2), has_boards=True)
    running.run()
    assert (list(running.results), running.stopped_before) == (["collectives"], "collectives, fabric line")
    assert said[-2:] == ["the chips need a reset now: tt-smi -r", "asked: collectives, fabric line"]
    running, said = light(tmp_path, RING_HANGS, steps(*TWO, limit_s=2), has_boards=True)
    running.run()
    assert ran(tmp_path) == ["collectives ring", "collectives line", "operations line"]
    assert running.results["collectives"].instead == "fabric line for ring"


def test_who_says_yes_goes_on_at_once(tmp_path: Path) -> None:
    running, said = light(tmp_path, RING_HANGS, steps("collectives", limit_s=2), has_boards=True, go_on=True)
    running.run()
    assert "asked: collectives, fabric line" in said
    assert running.results["collectives"].verdict is Verdict.RIGHT


def test_what_nothing_helps_is_told_as_it_first_was_and_tried_anew_the_next_time(tmp_path: Path) -> None:
    which = [*steps("collectives", limit_s=1), *steps("operations", needs=("collectives",))]
    for _ in range(2):
        running, _ = light(tmp_path, ALL_HANGS, which)
        running.run()
        assert running.results["collectives"].verdict is Verdict.HANG
        left_out = running.results["operations"]
        assert (left_out.verdict, left_out.said) == (Verdict.LEFT_OUT, "needs collectives, which is not right")
        assert running.machine.fabric == "ring"
    assert ran(tmp_path) == ["collectives ring", "collectives line"] * 2


def test_what_needs_a_step_that_failed_is_left_out_however_far_it_is(tmp_path: Path) -> None:
    first, second = steps("chips"), steps("collectives", needs=("chips",))
    third = steps("operations", needs=("collectives",))
    running, _ = light(tmp_path, stub("notes.end(Verdict.MISSING, '7 chips'); os._exit(0)"), first + second + third)
    running.run()
    assert running.results["chips"].said == "7 chips"
    assert {running.results[name].said for name in TWO} == {"needs chips, which is not right"}


def test_the_end_of_a_step_is_the_end_of_what_it_started(tmp_path: Path) -> None:
    starts = "import subprocess; child = subprocess.Popen(['sleep', '60']); Path('child').write_text(str(child.pid))"
    running, _ = light(tmp_path, stub(f"{starts}\ntime.sleep(60)"), steps("chips", limit_s=2))
    running.run()
    pid = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _runs(pid):
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("lines", "verdict", "said"),
    [
        (
            "sys.exit('it is broken')",
            Verdict.CRASH,
            "with exit code 1 while reduce_scatter, repeat 37 of 100; ",
        ),
        ("os._exit(28)", Verdict.FULL, "no room is left on the disk of the user's cache"),
        ("os._exit(0)", Verdict.CRASH, "with exit code 0"),
    ],
)
def test_ends_of_processes(tmp_path: Path, lines: str, verdict: Verdict, said: str) -> None:
    running, _ = light(tmp_path, stub(lines), steps("chips"))
    running.run()
    assert running.results["chips"].verdict is verdict
    assert said in running.results["chips"].said


def test_quick_begins_no_step_when_its_time_is_over(tmp_path: Path) -> None:
    busy = stub("notes.fact('seconds with the chips open, ' + asked.step, 61)")
    running, _ = light(tmp_path, busy, steps("chips", "collectives", "operations"))
    running.run()
    assert running.results["operations"].said.startswith("the 120 s of --quick are over")
    assert running.chip_seconds == 122
    running, _ = light(tmp_path, busy, steps("chips", "collectives", "operations"))
    running.run()
    assert running.results["operations"].verdict is Verdict.RIGHT


def test_a_simulators_time_is_not_the_chips(tmp_path: Path) -> None:
    busy = stub("notes.fact('seconds with the chips open, ' + asked.step, 121)")
    running, _ = light(tmp_path, busy, steps(*TWO), target="sim")
    running.run()
    assert [result.verdict for result in running.results.values()] == [Verdict.RIGHT] * 2


def test_a_crash_without_chips_wants_no_reset(tmp_path: Path) -> None:
    reads_files = [replace(step, targets=("cpu",)) for step in steps("ttnn")]
    running, said = light(tmp_path, stub("sys.exit(1)"), reads_files, has_boards=True)
    running.run()
    assert running.results["ttnn"].verdict is Verdict.CRASH
    assert not any("reset" in line for line in said)
    running, said = light(tmp_path, stub("sys.exit(1)"), steps("chips", "operations"), has_boards=True)
    running.run()
    assert said[-2:] == ["the chips need a reset now: tt-smi -r", "asked: chips, fabric line"]


def test_a_step_is_left_out_where_it_means_nothing(tmp_path: Path) -> None:
    running, _ = light(tmp_path, RIGHT, steps("driver", "collectives", "modules", "Mixtral's answers"), chips=1)
    running.run()
    assert {name: result.said for name, result in running.results.items()} == {
        "driver": "means nothing on target cpu",
        "collectives": "there is one chip",
        "modules": "not with --quick",
        "Mixtral's answers": "not with --quick",
    }
