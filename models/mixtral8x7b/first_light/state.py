"""What is known when first light is run again: right results, fallbacks that did not help, what works."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from models.mixtral8x7b.durable import write_text_durably
from models.mixtral8x7b.first_light.steps import Change
from models.mixtral8x7b.first_light.verdicts import Result
from models.mixtral8x7b.machine import Machine

_PROJECT = Path(__file__).resolve().parents[3]
_SOURCES = ("models/mixtral8x7b/first_light", "models/mixtral8x7b/tt", "ttnn_cpu")


@dataclass
class Failing:
    """A step that is not right yet."""

    topic: str | None
    tried: list[Change] = field(default_factory=list)  # the first is {}: as it was


@dataclass
class State:
    file: Path
    of: dict[str, str]  # what all of it holds for
    machine: Machine
    results: dict[str, Result] = field(default_factory=dict)
    failing: dict[str, Failing] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path, of: dict[str, str], start: Machine) -> "State":
        """What the file says, if it holds for the same program and options; else nothing is known."""
        try:
            data: dict[str, Any] = json.loads(file.read_text())
            if data["of"] == of:
                return cls(
                    file,
                    of,
                    Machine(**data["machine"]),
                    {name: Result.from_json(result) for name, result in data["results"].items()},
                    {name: Failing(**failing) for name, failing in data["failing"].items()},
                )
        except (OSError, ValueError, KeyError, TypeError):
            pass  # none is there, or one of another form
        return cls(file, of, start)

    def write(self) -> None:
        data = {
            "of": self.of,
            "machine": asdict(self.machine),
            "results": {name: result.to_json() for name, result in self.results.items()},
            "failing": {name: asdict(failing) for name, failing in self.failing.items()},
        }
        write_text_durably(self.file, json.dumps(data, indent=1) + "\n")


def versions(say: Callable[[str], str] = version) -> dict[str, str]:
    """Of the program's own sources, a hash, and of ttnn."""
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for file in sorted((_PROJECT / folder).rglob("*.py")):
            digest.update(file.read_bytes())
    try:
        ttnn = say("ttnn")
    except PackageNotFoundError:
        ttnn = "not installed"
    return {"program": digest.hexdigest()[:12], "ttnn": ttnn}
