"""The demo runs on the mock too: the same program, answers without meaning, and nothing left in the repository."""

import os
import subprocess
import sys

from tests.mock.records import REPOSITORY


def status() -> str:
    if not (REPOSITORY / ".git").exists():  # a copy without its history
        return ""
    return subprocess.check_output(["git", "status", "--porcelain", "--ignored=no"], cwd=REPOSITORY, text=True)


def test_demo() -> None:
    before = status()
    command = [sys.executable, "-m", "demo", "--target", "mock", "--users", "2", "--max-new-tokens", "3"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TT_")}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "Mixtral on target mock (mocked chips: values mean nothing)" in run.stdout
    assert "New tokens           6 in" in run.stdout
    assert status() == before
    assert not (REPOSITORY / "generated").exists()
