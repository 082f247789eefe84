"""How every program ends: a mistake is one sentence, a closed pipe is silence, and Ctrl-C is answered from the start.

    @program("plan")
    def main() -> None: ...

What takes seconds to import (torch, ttnn) is imported in `main`, where Ctrl-C is looked after. Standard library only.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from io import TextIOWrapper
from types import FrameType

from models.mixtral8x7b.mistake import Mistake, reason

CLOSED_PIPE = 128 + signal.SIGPIPE  # exit codes, as shells give them to programs that a signal ends
STOPPED = 128 + signal.SIGINT
_IMPORTS = "<frozen importlib._bootstrap>"


def program(name: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Makes a function a program's main. What goes wrong ends by SystemExit: with 1 and the sentence of a Mistake or of
    the operating system, with CLOSED_PIPE in silence when nobody reads stdout any more, with STOPPED after Ctrl-C."""

    def decorate(main: Callable[[], None]) -> Callable[[], None]:
        @wraps(main)
        def run() -> None:
            show_everything()
            with _stopping(name):
                ran = _run(name, main)
                code = _flushed(name, ran)
            if code:
                sys.exit(code)

        return run

    return decorate


def show_everything() -> None:
    """What the terminal's encoding lacks, and bytes of file names that are no text, are printed as escapes."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(name: str, main: Callable[[], None]) -> int | str | None:
    """The exit code, or the sentence that stands for 1."""
    try:
        main()
        return None
    except SystemExit as stop:
        return stop.code
    except KeyboardInterrupt:
        with suppress(OSError):
            print(_sentence(name), file=sys.stderr)
        return STOPPED
    except BrokenPipeError:
        return CLOSED_PIPE
    except Mistake as error:
        return f"{name}: {error}"
    except OSError as error:
        return f"{name}: the system refuses: {reason(error)}; mend this and run the same command again"
    except MemoryError:
        return f"{name}: there is not enough memory; expected more to be free: end other programs and run it again"


def _flushed(name: str, code: int | str | None) -> int | str | None:
    """`code`, unless there is none and what was printed cannot be written."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it ends
        if isinstance(error, BrokenPipeError):
            return code or CLOSED_PIPE
        return code or f"{name}: stdout cannot be written: {reason(error)}; mend this and run the same command again"


def _sentence(name: str) -> str:
    return f"{name}: stopped; run the same command again"


@contextmanager
def _stopping(name: str) -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, but ends the process at once while something is imported: modules that are half
    imported may swallow an exception, or go on without what they need."""

    def stop(number: int, frame: FrameType | None) -> None:
        if _is_importing(frame):
            with suppress(Exception):
                sys.stdout.flush()
            with suppress(OSError):
                os.write(2, f"{_sentence(name)}\n".encode())
            os._exit(STOPPED)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:  # as under nohup
        yield
        return
    signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == _IMPORTS:
            return True
        frame = frame.f_back
    return False
