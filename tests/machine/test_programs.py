"""How programs end: Ctrl-C from the first import on, closed pipes, full outputs, terminals that are not UTF-8.

.venv/bin/python -m pytest tests/machine
"""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.mixtral8x7b.mistake import Mistake, reason
from models.mixtral8x7b.program import CLOSED_PIPE, STOPPED, program

ROOT = Path(__file__).resolve().parents[2]
TINY = str(ROOT / "checkpoints" / "mixtral-tiny")
PROGRAMS = {
    "demo": ["-m", "demo"],
    "mixtral": ["-m", "models.mixtral8x7b.cli", "plan", TINY],
    "plan": ["scripts/plan.py", TINY],
    "repack_weights": ["scripts/repack_weights.py", TINY, "nowhere/out"],
    "download_weights": ["scripts/download_weights.py", "a/b", "nowhere/out"],
    "get_sfpi": ["scripts/get_sfpi.py"],
    "train": ["-m", "training.train", "--out", "nowhere/out"],
    "benchmarks": ["-m", "benchmarks.weights"],
}
BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}
# what each imports that takes long; when it is asked for, Ctrl-C is pressed
PRESSED_AT = {"torch", "numpy", "huggingface_hub", "safetensors", "rich", "loguru", "zstandard"}
PRESS = f"""
import importlib.abc, os, runpy, signal, sys, time
class Presser(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in {PRESSED_AT!r}:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
sys.meta_path.insert(0, Presser())
kind, name, *sys.argv[1:] = sys.argv[1:]
sys.argv[0] = name
start = runpy.run_module if kind == "-m" else runpy.run_path
start(name, run_name="__main__")
"""


def run(*arguments: str, **how) -> subprocess.CompletedProcess:
    heard = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # also where tests run under nohup
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        text=True,
        check=False,
        **(heard | {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how),
    )


def plain(code: str, **how) -> subprocess.CompletedProcess:
    """A program of a few lines, without torch."""
    head = "import os, signal, sys\nfrom models.mixtral8x7b.program import program\n@program('small')\ndef main():\n"
    body = "".join(f"    {line}\n" for line in code.splitlines())
    return run("-c", f"{head}{body}main()", **how)


@pytest.mark.parametrize("name", PROGRAMS)
def test_ctrl_c_while_a_program_imports_is_one_sentence(name: str) -> None:
    command = PROGRAMS[name] if PROGRAMS[name][0] == "-m" else ["file", *PROGRAMS[name]]
    done = run("-c", PRESS, *command)
    assert (done.returncode, done.stdout) == (STOPPED, "")
    assert done.stderr == f"{name}: stopped; run the same command again\n"


def test_ctrl_c_is_not_swallowed_by_what_is_imported(tmp_path: Path) -> None:
    (tmp_path / "swallows.py").write_text(
        "import os, signal, time\ntry:\n    os.kill(os.getpid(), signal.SIGINT); time.sleep(1)\n"
        "except BaseException:\n    pass\n"
    )
    done = plain(f"print('said')\nsys.path.insert(0, {str(tmp_path)!r})\nimport swallows\nprint('not said')")
    assert (done.returncode, done.stdout, done.stderr) == (
        130,
        "said\n",
        "small: stopped; run the same command again\n",
    )


def test_ctrl_c_at_work_lets_the_work_clean_up(tmp_path: Path) -> None:
    done = plain("try:\n    os.kill(os.getpid(), signal.SIGINT)\n    signal.pause()\nfinally:\n    print('cleaned up')")
    assert (done.returncode, done.stdout) == (130, "cleaned up\n")
    assert done.stderr == "small: stopped; run the same command again\n"


def test_ctrl_c_stays_ignored_where_it_was() -> None:
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from models.mixtral8x7b.program import program\n"
        "program('small')(lambda: os.kill(os.getpid(), signal.SIGINT))()\nprint('went on')"
    )
    done = run("-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


@pytest.mark.parametrize("flushed", [True, False])
def test_whoever_closes_the_pipe_has_read_enough(flushed: bool) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = plain(f"print('x' * 100, flush={flushed})\nprint('y')", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_a_mistake_is_said_though_the_pipe_is_closed() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = plain("print('x')\nraise FileNotFoundError(2, 'No such file', 'a')", stdout=writing, env=BUFFERED)
    os.close(writing)
    assert (done.returncode, "small: the system refuses: No such file: a; mend this" in done.stderr) == (1, True)
    assert "BrokenPipe" not in done.stderr


def test_a_program_prints_into_a_closed_pipe_in_silence() -> None:
    """The plan, whose table is the longest thing that a program prints."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run("scripts/plan.py", TINY, "--users", "1", "--context", "128", stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (CLOSED_PIPE, "")


def test_an_output_that_is_full_is_named() -> None:
    with open("/dev/full", "w") as full:
        done = plain("sys.stdout.write('x' * 10)", stdout=full, env=BUFFERED)
    assert done.returncode == 1
    assert done.stderr == (
        "small: stdout cannot be written: No space left on device; mend this and run the same command again\n"
    )


def test_a_closed_output_is_no_mistake() -> None:
    done = plain("print('x')", stdout=None, preexec_fn=lambda: os.close(1))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("encoding", "printed"), [("ascii", "\\xe9 \\udcff\n"), ("utf-8", "\xe9 \\udcff\n")])
def test_what_the_terminal_lacks_is_printed_as_an_escape(encoding: str, printed: str) -> None:
    done = plain(r"print('\xe9 \udcff')", env=os.environ | {"PYTHONIOENCODING": encoding}, encoding="utf-8")
    assert (done.returncode, done.stdout) == (0, printed)


# ---------------------------------------------------------------- in this process


def ending(error: BaseException) -> object:
    @program("small")
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_every_end_has_its_code_and_its_sentence() -> None:
    assert ending(Mistake("a is b; expected c, a letter")) == "small: a is b; expected c, a letter"
    assert ending(SystemExit(2)) == 2
    assert ending(BrokenPipeError(errno.EPIPE, "Broken pipe")) == CLOSED_PIPE
    assert ending(OSError(errno.EIO, "Input/output error", "a/b")) == (
        "small: the system refuses: Input/output error: a/b; mend this and run the same command again"
    )
    assert "there is not enough memory" in str(ending(MemoryError()))


def test_reasons_name_what_there_is() -> None:
    assert reason(OSError(errno.EIO, "Input/output error")) == "Input/output error"
    assert reason(OSError(errno.EIO, "Input/output error", b"\xff")) == "Input/output error: \udcff"
    assert reason(OSError("stopped")) == "stopped"
    assert reason(OSError()) == "OSError"
    assert reason(FileNotFoundError(2, "No such file", "a")) == "No such file: a"
