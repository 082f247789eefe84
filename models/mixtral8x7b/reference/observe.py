"""How a caller sees the intermediate results of the reference: a function that is told each one's name and value."""

from collections.abc import Callable
from typing import TypeAlias

from torch import Tensor

Observe: TypeAlias = Callable[[str, Tensor], None]


def nobody(name: str, value: Tensor) -> None:
    """Looks at nothing."""


def under(prefix: str, observe: Observe) -> Observe:
    """An observer that tells `observe` the same values under longer names: under("layers.0", o)("attention", x)."""
    if observe is nobody:
        return nobody
    return lambda name, value: observe(f"{prefix}.{name}", value)
