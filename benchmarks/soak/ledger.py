"""What became of every request, as its client saw it."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

ANSWERED, REFUSED = "answered", "refused"
LEFT, CUT = "left", "cut off"  # by the client; by the server, as it may do with a client that is broken


@dataclass
class Entry:
    """One request. Times are in seconds; those of tokens are of a stream that was read as it came.

    n_submitted    answers that the server was asked for, which it must count as ended
    """

    kind: str
    n_submitted: int = 0
    begun: float = field(default_factory=time.monotonic)
    end: str | None = None
    whole_s: float = 0.0
    first_token_s: float | None = None
    per_token_s: float | None = None


class Ledger:
    """Any thread may write."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: list[Entry] = []
        self.faults: list[str] = []
        self.n_right = self.n_wrong = self.n_same = self.n_other = 0
        self._first_texts: dict[str, str] = {}

    def open(self, kind: str, n_submitted: int = 0) -> Entry:
        entry = Entry(kind, n_submitted)
        with self._lock:
            self.entries.append(entry)
        return entry

    def close(self, entry: Entry, end: str) -> None:
        entry.whole_s = time.monotonic() - entry.begun
        entry.end = end

    def fault(self, kind: str, sentence: str) -> None:
        """What no request of the kind may end with."""
        with self._lock:
            self.faults.append(f"{kind}: {sentence}")

    def compare(self, prompt: str, text: str, right: str | None) -> None:
        """A greedy answer: with the one that is right, or else with the first that the same prompt had."""
        with self._lock:
            if right is not None:
                self.n_right += text == right
                self.n_wrong += text != right
                if text != right:
                    self.faults.append(f"{prompt!r} was answered with {text!r}")
            elif self._first_texts.setdefault(prompt, text) == text:
                self.n_same += 1
            else:
                self.n_other += 1

    def ends(self) -> Counter[str]:
        return Counter(entry.end or "lost" for entry in self.entries)

    def ends_by_kind(self) -> dict[str, Counter[str]]:
        found: dict[str, Counter[str]] = {}
        for entry in self.entries:
            found.setdefault(entry.kind, Counter())[entry.end or "lost"] += 1
        return found
