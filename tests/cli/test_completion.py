"""The Tab key, in bash itself, and as zsh and fish ask.

.venv/bin/python -m pytest tests/cli/test_completion.py
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models.mixtral8x7b.cli.options import PRECISIONS
from models.mixtral8x7b.tt.precision import PRESETS

ROOT = Path(__file__).resolve().parents[2]


def asked(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "models.mixtral8x7b.cli"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(tmp_path: Path) -> None:
    """A command that is called by its path too."""
    launcher = tmp_path / "mixtral"
    launcher.write_text(f'#!/bin/sh\ncd "{ROOT}" && exec "{sys.executable}" -m models.mixtral8x7b.cli "$@"\n')
    launcher.chmod(0o755)
    script = (
        'eval "$(./mixtral --show-completion bash)"\n'
        "function=$(complete -p mixtral | sed 's/.*-F \\([^ ]*\\).*/\\1/')\n"
        'for words in "./mixtral re" "./mixtral plan --pre" "./mixtral plan --precision acc"; do\n'
        "    COMP_WORDS=($words); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()\n"
        '    $function ./mixtral; echo "${COMPREPLY[@]}"\n'
        "done\n"
    )
    environment = os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        ["bash", "--norc", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["repack", "--precision", "accuracy"]


def test_zsh_and_fish_are_told_commands_with_their_help() -> None:
    zsh = asked(_MIXTRAL_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="mixtral war")
    assert zsh.startswith("_arguments ")
    assert '"warm-up":"Fill the weight cache, and check every' in zsh
    fish = asked(
        _MIXTRAL_COMPLETE="complete_fish",
        _TYPER_COMPLETE_ARGS="mixtral plan --precision ",
        _TYPER_COMPLETE_FISH_ACTION="get-args",
    )
    assert fish.split() == list(PRECISIONS) == list(PRESETS)
