"""The process of a step on a machine with a fault, which only tests have.

    python -m tests.first_light.faulty FAULT ASKED NOTES

Faults reach ttnn_cpu's public functions; what it computes by itself, what is right, stays right.
"""

import errno
import os
import signal
import sys
import time
from typing import Any

import ttnn_cpu
from models.mixtral8x7b.first_light import child

ODD_CHIP = 1


def _wrong_value() -> None:
    """One number of each product is off by 8, as a known fault of the chips has it."""
    real = ttnn_cpu.linear

    def linear(*args: Any, **named: Any) -> Any:
        made = real(*args, **named)
        values = made.storage.values.clone()
        values[..., 1, 2] += 8.0
        made.storage.values = values
        return made

    ttnn_cpu.linear = linear


def _other_ids() -> None:
    """One chip draws others."""
    real = ttnn_cpu.sampling

    def sampling(*args: Any, **named: Any) -> Any:
        made = real(*args, **named)
        ids = named["output_tensor"]
        whole = ids.storage.values.expand(ids.shards, *ids.storage.values.shape[1:]).clone()
        whole[ODD_CHIP] += 1
        ids.storage.values = whole
        return made

    ttnn_cpu.sampling = sampling


def _hang() -> None:
    ttnn_cpu.reduce_scatter = lambda *args, **named: time.sleep(600)


def _crash() -> None:
    ttnn_cpu.all_gather = lambda *args, **named: os.kill(os.getpid(), signal.SIGSEGV)


def _garbage() -> None:
    """What should be zeros is what was in memory."""
    real, empty = ttnn_cpu.zeros_like, ttnn_cpu.empty

    def zeros_like(tensor: Any, *args: Any, **named: Any) -> Any:
        real(tensor, *args, **named)
        return empty(list(tensor.shape), dtype=tensor.dtype, layout=tensor.layout, device=tensor.device())

    ttnn_cpu.zeros_like = zeros_like


def _missing_chip() -> None:
    ttnn_cpu.get_num_devices = lambda: 7


def _full_disk() -> None:
    def refuse(*args: Any, **named: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/home/somebody/.cache/kernels")

    ttnn_cpu.open_mesh_device = refuse


def _no_trace() -> None:
    """A replay that forgets to run."""
    ttnn_cpu.execute_trace = lambda *args, **named: None


FAULTS = {
    "wrong value": _wrong_value,
    "other ids": _other_ids,
    "hang": _hang,
    "crash": _crash,
    "garbage": _garbage,
    "missing chip": _missing_chip,
    "full disk": _full_disk,
    "no trace": _no_trace,
    "none": lambda: None,
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    child.main()
