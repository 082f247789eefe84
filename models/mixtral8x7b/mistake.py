"""What a user or a machine got wrong, as opposed to a fault of the program."""

import errno
import os

OF_THE_PROCESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # what has nothing to do with the file that is opened


class Mistake(Exception):
    """The message is one sentence, all that a program shows: the thing, what was expected, what to do."""


def reason(error: OSError) -> str:
    """What the operating system says, for people: "Permission denied: /a/b"."""
    if error.strerror is None:
        return str(error) or type(error).__name__
    return error.strerror if error.filename is None else f"{error.strerror}: {_shown(error.filename)}"


def _shown(filename: object) -> str:
    return f"descriptor {filename}" if isinstance(filename, int) else os.fsdecode(filename)  # type: ignore[arg-type]
