"""What can come out of a step, and what to do about it."""

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

RESET = "tt-smi -r"


class Verdict(Enum):
    RIGHT = "right"
    CALLED = "called"  # on the mock, whose values mean nothing
    LEFT_OUT = "left out"
    WRONG = "wrong"
    DISAGREE = "chips disagree"
    GARBAGE = "garbage"  # numbers that no arithmetic gave
    HANG = "hang"
    CRASH = "crash"
    MISSING = "missing"  # boards or chips
    FULL = "disk full"
    REFUSED = "refused"  # by the library, or by this project, in words

    @property
    def is_good(self) -> bool:
        return self in (Verdict.RIGHT, Verdict.CALLED)


WHAT_TO_DO = {
    Verdict.WRONG: "attach the report to an issue; until it is answered trust no text of these chips",
    Verdict.DISAGREE: f"run {RESET} and the same command again; if the same chip differs again, its board or its links "
    "are at fault: attach the report to an issue",
    Verdict.GARBAGE: f"run {RESET}, which clears the chips' memory, and the same command again; if it stays, attach "
    "the report to an issue",
    Verdict.HANG: f"run {RESET}, then the same command again: it goes on where it stopped",
    Verdict.CRASH: f"run {RESET}, then the same command again; if it ends there again, attach the report to an issue",
    Verdict.MISSING: f"run {RESET} and look with tt-smi -ls; if it stays, switch the machine off and on, then see to "
    "cables and seats of the boards",
    Verdict.FULL: "make room on the disk of the user's cache, or set XDG_CACHE_HOME, then run the same command again",
    Verdict.REFUSED: "mend what the sentence names, then run the same command again",
}


class Finding(Exception):
    """What a step found wrong, in words. `topic` says which fallbacks there are for it: a key of steps.FALLBACKS."""

    def __init__(self, verdict: Verdict, said: str, topic: str | None = None) -> None:
        super().__init__(said)
        self.verdict, self.said, self.topic = verdict, said, topic


@dataclass(frozen=True)
class Result:
    """Of one step. `far`: how far from expected, for people. `facts`: versions, topology, timings, for the report."""

    verdict: Verdict
    said: str = ""
    seconds: float = 0.0
    far: str = ""
    topic: str | None = None
    instead: str = ""  # the fallback with which it is right: "fabric line for ring"
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def what_to_do(self) -> str:
        return WHAT_TO_DO.get(self.verdict, "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Result":
        return cls(**data | {"verdict": Verdict(data["verdict"])})
