"""What first light prints and leaves behind.

.venv/bin/python -m pytest --target cpu tests/first_light/test_session.py
"""

import errno
import getpass
import json
import os
import socket
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from models.mixtral8x7b.first_light import runner
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.flow import Options
from models.mixtral8x7b.first_light.report import scrubbed
from models.mixtral8x7b.first_light.session import NotRight, Session
from models.mixtral8x7b.first_light.state import State
from models.mixtral8x7b.first_light.verdicts import Result, Verdict
from models.mixtral8x7b.machine import DESIGNED
from tests.cli.conftest import Run, mixtral, user_cache  # noqa: F401
from tests.first_light.light import steps, stub

SECRETS = f"/home/anna/.cache/kernels of {getpass.getuser()} on {socket.gethostname()}"


def session(cache: Path, child: Sequence[str], quick: bool = True) -> Session:
    options = Options("cpu", 2, quick=quick, steps=steps("chips", "collectives", limit_s=20), child=child)
    return Session(options, cache, DESIGNED, again=False)


def run(of: Session, report: Path) -> list[str]:
    said: list[str] = []
    of.run(report, said.append, lambda following: False)
    return said


def test_a_table_a_report_and_what_works(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = run(session(tmp_path, stub("")), tmp_path / "report.md")
    table = capsys.readouterr().out.splitlines()
    assert [cell.strip() for cell in table[0].split("|")[1:-1]] == [
        "what",
        "verdict",
        "seconds",
        "how far from expected",
    ]
    assert len({len(line) for line in table}) == 1
    assert [[line.split("|")[n].strip() for n in (1, 2, 4)] for line in table[2:]] == [
        ["chips", "right", "as expected"],
        ["collectives", "right", "as expected"],
    ]
    report = (tmp_path / "report.md").read_text()
    assert "\n".join(table) in report
    assert "- a fact of chips: 1\n" in report
    assert json.loads((tmp_path / "machine.json").read_text())["cpu"]["fabric"] == "ring"
    assert any("no names and no paths" in line for line in said)


def test_what_is_wrong_is_listed_with_what_to_do_and_the_report_names_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(NotRight, match="2 of the steps are not right"):
        run(session(tmp_path, stub(f"sys.exit({SECRETS!r})")), tmp_path / "report.md")
    assert "chips: crash: run tt-smi -r" in capsys.readouterr().out
    report = (tmp_path / "report.md").read_text()
    assert "its last line: PATH of USER on HOST" in report
    assert not {word for word in (str(tmp_path), "anna", socket.gethostname()) if word in report}


def test_words_that_are_no_names_stay() -> None:
    text = f"a {getpass.getuser()}-like word, 8 x 8 cores, 3/4 of it, GB/s, and/or; see docs/cli.md"
    assert scrubbed(text) == text
    assert scrubbed("'/tmp/x/y z' ~/.cache/a: /proc/1/fd") == "'PATH z' PATH: PATH"


def test_a_full_disk_of_the_cache_is_told_and_the_table_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: State) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.json")

    monkeypatch.setattr(State, "write", refuse)
    with pytest.raises(NotRight, match="disk full: No space left on device: state.json; make room"):
        run(session(tmp_path, stub("")), tmp_path / "report.md")
    assert "what" in capsys.readouterr().out


def test_the_command(mixtral: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Asked] = []

    def right(one: Asked, *others: object) -> Result:
        asked.append(one)
        return Result(Verdict.RIGHT)

    monkeypatch.setattr(runner, "run", right)
    done = mixtral("first-light", "--target", "cpu", "--chips", 2, "--fabric", "line")
    assert done.code == 0
    assert {one.machine for one in asked} == {replace(DESIGNED, fabric="line")}
    assert [one.chips for one in asked].count(1) == 2
    n_asked = len(asked)
    assert mixtral("first-light", "--target", "cpu", "--chips", 2, "--fabric", "line").code == 0
    assert len(asked) == n_asked, "what was right is known"
    assert mixtral("first-light", "--target", "cpu", "--chips", 2, "--fabric", "line", "--again").code == 0
    assert len(asked) == 2 * n_asked
    assert mixtral("first-light", "--quick", "--target", "cpu").code == 0
    assert len(asked) - 2 * n_asked < n_asked


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--chips", 3), "--chips is 3; expected 1, 2, 4 or 8"),
        (("--target", "gpu"), "--target is 'gpu'; expected one of cpu, mock, sim, device"),
        (("--report", "no/where.md"), "--report is no/where.md, and its folder is not there; expected one that is"),
    ],
)
def test_wrong_use(mixtral: Run, options: tuple[object, ...], message: str) -> None:
    done = mixtral("first-light", *options)
    assert (done.code, done.sentence) == (2, f"mixtral: {message}; see --help")
