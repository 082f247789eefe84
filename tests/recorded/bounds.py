"""How close ttnn_cpu is to the real kernels, operation by operation: what tests/data must keep to."""

from dataclasses import dataclass

from tests.recorded.compare import Difference


@dataclass(frozen=True)
class Bound:
    """At least this fraction of the values has equal bits, and this correlation."""

    equal: float
    pcc: float

    def holds(self, found: Difference) -> bool:
        return found.equal >= self.equal and found.pcc >= self.pcc


BITS = Bound(1.0, 1.0)
BOUNDS: dict[str, Bound] = {}
