"""`mixtral` as a shell starts it. Its set-up is a stand-in, as setup.sh's own is `make setup`.

.venv/bin/python -m pytest tests/cli/test_launcher.py
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SET_UP = f"""
cd -- "$(dirname -- "$0")/.."
echo set-up >> set-ups
mkdir -p .venv/bin
ln -sf {shlex.quote(sys.prefix)}/lib {shlex.quote(sys.prefix)}/pyvenv.cfg .venv/
ln -sf {shlex.quote(sys.prefix)}/bin/python .venv/bin/python
touch .venv/installed
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone that is not set up, in a folder with a space and a quote in its name."""
    clone = tmp_path / "it's a clone"
    (clone / "scripts").mkdir(parents=True)
    for name in ("models", "ttnn_cpu", "tensorbin", "virtual_t3000", "checkpoints"):
        (clone / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "mixtral", clone)
    (clone / "scripts" / "setup.sh").write_text(SET_UP)
    return clone


@pytest.fixture
def link(clone: Path, tmp_path: Path) -> Path:
    """A relative link to a link to it, in a folder of PATH."""
    (tmp_path / "bin folder").mkdir()
    (tmp_path / "direct").symlink_to(clone / "mixtral")
    (tmp_path / "bin folder" / "mixtral").symlink_to(Path("..") / "direct")
    return tmp_path / "bin folder" / "mixtral"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MIXTRAL", "COV"))}
    return kept | more


def test_the_tab_key_sets_nothing_up(clone: Path) -> None:
    done = subprocess.run(
        [clone / "mixtral"], env=environment(_MIXTRAL_COMPLETE="complete_bash"), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    assert not (clone / "set-ups").exists()


def test_help_through_a_link_is_quick_and_imports_no_torch(clone: Path, link: Path, tmp_path: Path) -> None:
    """What stands in the caller's folder is not imported, nor what is on a PYTHONPATH."""
    for name in ("torch", "numpy", "ttnn", "ttnn_cpu", "typer", "signal", "rich", "transformers"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was imported from the wrong folder')")
    path = os.pathsep.join([str(link.parent), os.environ["PATH"]])
    before = os.times()
    done = subprocess.run(
        ["mixtral", "--help"],
        cwd=tmp_path,
        env=environment(PATH=path, PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    after = os.times()
    assert (done.returncode, done.stderr) == (0, "")
    assert "warm-up" in done.stdout
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds < 0.5, "CPU seconds of --help, with those of the launcher"
    assert (clone / "set-ups").read_text() == "set-up\n"


def test_the_command_runs_in_the_callers_folder_with_the_callers_words(clone: Path, link: Path, tmp_path: Path) -> None:
    """Of another program in the same place, which says what it was given."""
    (clone / "models").unlink()
    (clone / "models" / "mixtral8x7b" / "cli").mkdir(parents=True)
    (clone / "models" / "mixtral8x7b" / "cli" / "__main__.py").write_text(
        "import json, os, sys\ndef main(): print(json.dumps([os.getcwd(), sys.argv[1:]])); sys.exit(7)\n"
    )
    words = ["plan", "a checkpoint", "", "$(ls)", "--", "-x", "\n"]
    done = subprocess.run([link, *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "")
    assert json.loads(done.stdout) == [str(tmp_path), words]


def test_ctrl_c_at_any_moment(clone: Path) -> None:
    """In the shell, in Python's own start, while something is imported, at work: 130, and at most the one sentence."""
    endings = set()
    for tenths in (0.2, 0.7, 1.2, 2, 3, 5, 9):
        started = subprocess.Popen(
            [clone / "mixtral", "plan", "checkpoints/mixtral-tiny"],
            cwd=clone,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        time.sleep(tenths / 10)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate()
        endings.add((started.returncode, said))
    silent, told = (-signal.SIGINT, ""), (130, "mixtral: stopped; run the same command again\n")
    assert endings <= {silent, told, (130, ""), (0, "")}, endings
    assert silent in endings or (130, "") in endings
