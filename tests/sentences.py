"""What every message for a user must be: one sentence that names a thing, what was expected of it, what to do."""

import re

_NEVER = {
    r"\bNone\b": "a name or a reason that is not there",
    r"\b0\.0+ (GB|MB|kB)": "a size that is no size",
    r"Errno": "a number of the system",
    r"\w+(Error|Exception)\(": "the name of a class",
    r"Traceback|object at 0x": "the program's inside",
    r"\n": "more than a line",
    r"\.$": "a full stop, where a program adds its own words",
}
_EXPECTED = r"expected|at (most|least)|must|need(s|ed)?|takes?|only|wanted|made for|\d+ to \d+|has to"
_TO_DO = """add ask begin check choose close cut delete end fetch finish give go install leave let log lower make mend
merge move name open pass put raise read remove rename repack run save see set shorten spell start take try unset use
wait write"""
_HELPS = re.compile(rf"\b({_EXPECTED}|{'|'.join(_TO_DO.split())})\b", re.IGNORECASE)


def faults(message: str) -> list[str]:
    """What is wrong with a message."""
    found = [f"holds {what}" for pattern, what in _NEVER.items() if re.search(pattern, message)]
    if len(message) < 20:
        found.append("is too short to name a thing")
    if not _HELPS.search(message):
        found.append("says neither what was expected nor what to do")
    return found
