"""What one device operation takes of a chip, and a step made of them. Times are modelled, in microseconds."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from models.mixtral8x7b.cost.chip import DRAM_GB_S, LINK_GB_S, peak_tflops


@dataclass(frozen=True)
class Cost:
    """us is `fixed` plus the largest of `parts`, which are named DRAM, math, links or cores.

    dram, l1 and link are bytes: read and written, held, and sent over the busiest link in one direction.
    """

    name: str
    fixed: float
    parts: Mapping[str, float] = field(default_factory=dict)
    flops: float = 0.0
    fidelity: str = "HiFi2"
    dram: float = 0.0
    l1: float = 0.0
    link: float = 0.0
    detail: str = ""  # shapes, for people

    @property
    def us(self) -> float:
        return self.fixed + max(self.parts.values(), default=0.0)

    @property
    def limit(self) -> str:
        """The largest part; `fixed` where it is longer than all of them."""
        largest = max(self.parts, key=lambda name: self.parts[name], default="fixed")
        return largest if self.parts.get(largest, 0.0) >= self.fixed else "fixed"

    @property
    def roofs(self) -> dict[str, float]:
        """us at the chip's peaks: 64 cores at this fidelity, 288 GB/s, 12.5 GB/s."""
        return {
            "math": self.flops / 1e6 / peak_tflops(self.fidelity),
            "DRAM": self.dram / 1e3 / DRAM_GB_S,
            "links": self.link / 1e3 / LINK_GB_S,
        }

    @property
    def roof(self) -> float:
        return max(self.roofs.values())

    def named(self, name: str, detail: str) -> "Cost":
        return replace(self, name=name, detail=detail)


@dataclass(frozen=True)
class Entry:
    """The same operation, `count` times in a step."""

    cost: Cost
    count: int

    @property
    def us(self) -> float:
        return self.cost.us * self.count

    @property
    def roof(self) -> float:
        return self.cost.roof * self.count


@dataclass(frozen=True)
class Step:
    """Device operations that run one after the other; equal ones are one entry, in the order of the first of each."""

    entries: tuple[Entry, ...]

    @classmethod
    def of(cls, costs: Iterable[tuple[Cost, int]]) -> "Step":
        counts: dict[tuple[str, str, float], Entry] = {}
        for cost, count in costs:
            key = (cost.name, cost.detail, cost.us)
            seen = counts.get(key)
            counts[key] = Entry(cost, count + (seen.count if seen else 0))
        return cls(tuple(entry for entry in counts.values() if entry.count))

    def _sum(self, value: Callable[[Cost], float]) -> float:
        return sum(value(entry.cost) * entry.count for entry in self.entries)

    @property
    def operations(self) -> int:
        return sum(entry.count for entry in self.entries)

    @property
    def us(self) -> float:
        """All operations, without gaps."""
        return self._sum(lambda cost: cost.us)

    @property
    def roof(self) -> float:
        return self._sum(lambda cost: cost.roof)

    @property
    def flops(self) -> float:
        return self._sum(lambda cost: cost.flops)

    @property
    def dram(self) -> float:
        return self._sum(lambda cost: cost.dram)

    @property
    def l1(self) -> float:
        return self._sum(lambda cost: cost.l1)

    @property
    def link(self) -> float:
        return self._sum(lambda cost: cost.link)

    def largest(self, most: int) -> list[Entry]:
        return sorted(self.entries, key=lambda entry: -entry.us)[:most]

    def by_limit(self) -> dict[str, float]:
        """us of the operations that each limit binds."""
        found: dict[str, float] = {}
        for entry in self.entries:
            found[entry.cost.limit] = found.get(entry.cost.limit, 0.0) + entry.us
        return found
