"""Says in one sentence what the simulator died of.

Where ttsim meets what it does not simulate, it prints a line and ends the process at once, without a word from Python.
So a second process, the witness, waits for the first one's end, and reads what stands in its folder of logs then:

simulator.log   what the C library printed, which is the simulator's and ttnn's own output
operation       the ttnn operation that was called last
"""

import ctypes
import importlib
import mmap
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOG, _OPERATION = "simulator.log", "operation"
_LONGEST_NAME = 256
_TRANSFERS = frozenset(f"ttnn.{name}" for name in ("from_torch", "to_device", "from_device", "to_torch", "deallocate"))
# [clock] ERROR: category: function: more
_DEATH = re.compile(r"^\[\d+\] ERROR: (\w+): (.*)$", re.MULTILINE)


def start_witness(folder: Path) -> Path:
    """Starts the witness of this process; returns the folder of logs, which is removed in the end unless it died."""
    logs = folder / str(os.getpid())
    logs.mkdir(parents=True, exist_ok=True)
    _redirect_c_output(logs / _LOG)
    ours, _ = os.pipe()  # nobody writes: the witness reads the end, when this process is gone
    command = [sys.executable, str(Path(__file__)), str(ours), str(logs)]
    subprocess.Popen(command, pass_fds=(ours,), start_new_session=True)
    os.close(ours)
    return logs


def note_operations() -> None:
    """Imports ttnn and has it write down the name of every operation before it runs, in TT_METAL_LOGS_PATH."""
    operation = importlib.import_module("ttnn.decorators").FastOperation
    path = Path(os.environ["TT_METAL_LOGS_PATH"]) / _OPERATION
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(_LONGEST_NAME))
    with path.open("r+b") as file:
        note = mmap.mmap(file.fileno(), _LONGEST_NAME)
    call: Callable[..., Any] = operation.__call__

    def noted_call(self: Any, *args: Any, **kwargs: Any) -> Any:
        name = self.python_fully_qualified_name
        if name not in _TRANSFERS:  # a kernel runs on after its call; what waits for it is a transfer
            note[:] = name.encode()[:_LONGEST_NAME].ljust(_LONGEST_NAME, b"\0")
        return call(self, *args, **kwargs)

    operation.__call__ = noted_call


def last_operation(logs: Path) -> str:
    """The name of the operation that was called last; empty before the first."""
    try:
        return (logs / _OPERATION).read_bytes().rstrip(b"\0").decode(errors="replace")
    except FileNotFoundError:
        return ""


def _redirect_c_output(log: Path) -> None:
    """printf goes to the log from here on, Python's print does not: `stdout` is two different things to them."""
    libc = ctypes.CDLL(None)
    libc.fopen.restype = ctypes.c_void_p
    opened = libc.fopen(str(log).encode(), b"w")
    if opened:
        ctypes.c_void_p.in_dll(libc, "stdout").value = opened


def _sentence(logs: Path) -> str | None:
    """What the process died of, if it was the simulator."""
    deaths = _DEATH.findall((logs / _LOG).read_text(errors="replace"))
    if not deaths:
        return None
    category, where = deaths[-1]
    operation = last_operation(logs)
    during = f"during {operation}" if operation else "before the first operation"
    return f"the simulator gave up {during}: {category}: {where} (its log: {logs / _LOG})"


def _witness(pipe: int, logs: Path) -> None:
    os.read(pipe, 1)
    sentence = _sentence(logs)
    if sentence is not None:
        print(sentence, file=sys.stderr, flush=True)
    else:
        shutil.rmtree(logs, ignore_errors=True)


if __name__ == "__main__":
    _witness(int(sys.argv[1]), Path(sys.argv[2]))
