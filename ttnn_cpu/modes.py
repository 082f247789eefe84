"""With which arithmetic operations compute: rounded once (the default), exactly, or as the chips do.

A mode holds for host tensors made inside (`from_torch`), for operations and for traces executed inside; the innermost
counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class Mode(Enum):
    ROUNDED_ONCE = "float32, each result rounded to its dtype"
    EXACT = "float32"
    CHIP = "as the kernels compute"


_mode = Mode.ROUNDED_ONCE


@contextmanager
def exact_values() -> Iterator[None]:
    """Keep every float value in float32, rounding off: dtypes, layouts and checks stay as they are."""
    with within(Mode.EXACT):
        yield


@contextmanager
def chip_values() -> Iterator[None]:
    """Compute as a Wormhole chip does, where that is known (docs/chip_values.md), else as by default.

    For comparisons: a matrix product takes some 50 times as long.
    """
    with within(Mode.CHIP):
        yield


@contextmanager
def within(mode: Mode) -> Iterator[None]:
    global _mode
    before, _mode = _mode, mode
    try:
        yield
    finally:
        _mode = before


def current() -> Mode:
    return _mode


def is_exact() -> bool:
    return _mode is Mode.EXACT


def is_rounded_once() -> bool:
    return _mode is Mode.ROUNDED_ONCE


def is_chip() -> bool:
    return _mode is Mode.CHIP
