"""A step in a process of its own, with a time limit: what comes back is always a Result, whatever becomes of it."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Told
from models.mixtral8x7b.first_light.verdicts import Result, Verdict

CHILD = (sys.executable, "-m", "models.mixtral8x7b.first_light.child")
NO_ROOM_FOR_NOTES = 28  # exit code of a process that could not write its notes
OPERATION_LIMIT_S = 60  # after so long ttnn gives an operation up, by an exception: the process ends in order
_GRACE_S = 5.0  # from the request to end to the end by force
_ROOT = Path(__file__).resolve().parents[3]


def run(asked: Asked, folder: Path, limit_s: float, child: Sequence[str] = CHILD) -> Result:
    """`folder` gets what the process is asked, its notes and its log. Raises OSError where it cannot be written."""
    stem = re.sub(r"\W+", "_", asked.step)
    question, notes, log = (folder / f"{stem}.{kind}" for kind in ("asked", "notes", "log"))
    notes.unlink(missing_ok=True)
    asked.write(question)
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*child, str(question), str(notes)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=_environment(asked),
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
    result = _result(Told.read(notes), code, limit_s, log)
    return replace(result, seconds=time.monotonic() - started)


def _environment(asked: Asked) -> dict[str, str]:
    """The caller's; the project is found whatever the folder."""
    paths = [str(_ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    added = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    if asked.target == "device":
        added["TT_METAL_OPERATION_TIMEOUT_SECONDS"] = str(OPERATION_LIMIT_S)
    return {**os.environ, **added}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the process, if it runs, and all that it started."""
    for number, patience in ((signal.SIGTERM, _GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(patience)


def _result(told: Told, code: int | None, limit_s: float, log: Path) -> Result:
    def made(verdict: Verdict, said: str) -> Result:
        return Result(verdict, said, far=told.far, topic=told.topic, facts=told.facts)

    if told.verdict is not None and code == 0:
        return made(told.verdict, told.said)
    if code is None:
        return made(Verdict.HANG, f"no end after {limit_s:g} s while {told.doing}")
    if code == NO_ROOM_FOR_NOTES:
        return made(Verdict.FULL, f"no room is left on the disk of the user's cache while {told.doing}")
    how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    return made(Verdict.CRASH, f"the process ended {how} while {told.doing}{_last_words(log)}")


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"; its last line: {lines[-1][:200]}" if lines else ""
