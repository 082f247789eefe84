"""What a step's process tells the runner while it runs: lines of JSON, so that a killed one has told all it could."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from models.mixtral8x7b.first_light.verdicts import Verdict

CHIP_SECONDS = "seconds with the chips open, {}"  # the name of a fact, with a step's


class Notes:
    """The process's side."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", encoding="utf-8")

    def doing(self, what: str, topic: str | None = None) -> None:
        """What comes next: it is what hung or crashed, if anything does."""
        self._line(doing=what, topic=topic)

    def far(self, how: str) -> None:
        """How far from expected; the last that is told counts."""
        self._line(far=how)

    def fact(self, name: str, value: object) -> None:
        self._line(fact=[name, str(value)])

    def end(self, verdict: Verdict, said: str = "", topic: str | None = None) -> None:
        self._line(verdict=verdict.value, said=said, topic=topic)

    def _line(self, **what: object) -> None:
        self._file.write(json.dumps(what) + "\n")
        self._file.flush()


@dataclass
class Told:
    """The runner's side: all of a process's notes."""

    doing: str = "starting"
    topic: str | None = None
    far: str = ""
    said: str = ""
    verdict: Verdict | None = None  # None: it has not come to an end
    facts: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Told":
        told = cls()
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
            try:
                note = json.loads(line)
            except ValueError:  # the process was killed while it wrote
                continue
            if "fact" in note:
                told.facts[note["fact"][0]] = note["fact"][1]
            elif "verdict" in note:
                told.verdict, told.said = Verdict(note["verdict"]), note["said"]
                told.topic = note["topic"] or told.topic
            elif "far" in note:
                told.far = note["far"]
            else:
                told.doing, told.topic = note["doing"], note["topic"]
        return told
