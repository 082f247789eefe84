"""The process of one step: python -m models.mixtral8x7b.first_light.child ASKED NOTES."""

import errno
import faulthandler
import importlib
import os
import re
import sys
from pathlib import Path

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.runner import NO_ROOM_FOR_NOTES
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.mistake import Mistake, reason
from models.mixtral8x7b.target import use_target

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OPERATION_TIMEOUT = re.compile("TIMEOUT|timed out", re.IGNORECASE)  # how ttnn gives a hung operation up


def main() -> None:
    faulthandler.enable()
    asked = Asked.read(Path(sys.argv[1]))
    try:
        notes = Notes(Path(sys.argv[2]))
        try:
            _run(asked, notes)
        except Finding as found:
            notes.end(found.verdict, found.said, found.topic)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            notes.end(Verdict.FULL, reason(error))
    except OSError as error:
        if error.errno in _FULL:
            _end_at_once(NO_ROOM_FOR_NOTES)
        raise
    _end_at_once(0)


def _run(asked: Asked, notes: Notes) -> None:
    """Raises Finding for whatever is not as it should be but for a fault of the program, which is a crash."""
    from models.mixtral8x7b.durable import DiskFullError

    module, _, function = asked.function.partition(":")
    try:
        if module != "system":
            use_target(asked.target, asked.chips)
        getattr(importlib.import_module(f"models.mixtral8x7b.first_light.{module}"), function)(asked, notes)
    except DiskFullError as error:
        raise Finding(Verdict.FULL, str(error)) from error
    except Mistake as error:
        raise Finding(Verdict.REFUSED, str(error)) from error
    except RuntimeError as error:  # how ttnn says whatever it does not like
        first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        verdict = Verdict.HANG if _OPERATION_TIMEOUT.search(str(error)) else Verdict.REFUSED
        raise Finding(verdict, f"the library says: {first[:300]}") from error
    if asked.target == "mock" and module != "system":
        notes.far("every call is taken; values mean nothing, and none was compared")
        notes.end(Verdict.CALLED)
    else:
        notes.end(Verdict.RIGHT)


def _end_at_once(code: int) -> None:
    """What has been told counts: nothing that ends later (ttnn complains in its destructors) may change it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
