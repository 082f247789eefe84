"""The table that first light ends with, and the report that an owner attaches to an issue."""

import getpass
import platform
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from pathlib import Path

from models.mixtral8x7b.first_light.verdicts import Result, Verdict
from models.mixtral8x7b.machine import Machine
from models.mixtral8x7b.terminal import harmless

HEAD = ("what", "verdict", "seconds", "how far from expected")
PRIVACY = "It holds versions, topology, verdicts and timings; names of users and hosts, and paths, are taken out."
_PATH = re.compile(r"(?<![\w.])~?(?:/[\w.+@%=,~-]+){2,}/?")


def table(results: Mapping[str, Result]) -> str:
    """Columns of even width, for a terminal and for an issue alike."""
    rows = [HEAD, tuple("-" * len(title) for title in HEAD), *(_cells(name, one) for name, one in results.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    )


def _cells(name: str, result: Result) -> tuple[str, ...]:
    verdict = result.verdict.value + (f", with {result.instead}" if result.instead else "")
    seconds = "" if result.verdict is Verdict.LEFT_OUT else f"{result.seconds:.1f}"
    far = result.far if result.verdict.is_good else result.said
    return name, verdict, seconds, " ".join(far.replace("|", "/").split())


def to_do(results: Mapping[str, Result]) -> list[str]:
    """One line for each step that failed."""
    return [
        f"{name}: {one.verdict.value}: {one.what_to_do}"
        for name, one in results.items()
        if not one.verdict.is_good and one.verdict is not Verdict.LEFT_OUT
    ]


def report(results: Mapping[str, Result], machine: Machine, about: Mapping[str, str]) -> str:
    """Markdown. `about`: target, chips, options, versions."""
    facts = {name: value for one in results.values() for name, value in one.facts.items()}
    named = {"date": date.today().isoformat(), "python": platform.python_version(), "linux": platform.release()}
    sections = [
        "# First light\n\n" + PRIVACY,
        _listed("Program", {**about, **named}),
        _listed("What works on this machine", {name: str(value) for name, value in asdict(machine).items()}),
        _listed("Versions, topology, timings", facts),
        "## Steps\n\n" + table(results),
    ]
    if failed := to_do(results):
        sections.append("## To do\n\n" + "\n".join(f"- {line}" for line in failed))
    return scrubbed("\n\n".join(sections)) + "\n"


def _listed(title: str, values: Mapping[str, str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {name}: {value}" for name, value in values.items())


def scrubbed(text: str) -> str:
    """Without the names of this user and this host, and without paths."""
    text = _PATH.sub("PATH", harmless(text))
    for name, stand_in in ((_user(), "USER"), (socket.gethostname(), "HOST"), (Path.home().name, "USER")):
        if len(name) > 1:
            text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", stand_in, text)
    return text


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user without a name
        return ""
