"""The steps in their order, each with its time limit, and what is tried in place of what does not work.

The order is from what everything needs to what few need, so that the first failure is near its cause.
"""

from dataclasses import dataclass
from typing import Any

Change = dict[str, Any]  # fields of Machine

# By what fails: tried one after the other, each alone.
FALLBACKS: dict[str, tuple[Change, ...]] = {
    "joins": ({"fabric": "line"},),
    "matmul": ({"fidelity": "HiFi3"}, {"fidelity": "HiFi2"}),
    "attention": (
        {"attention_chunk": 128},
        {"attention_chunk": 64},
        {"fidelity": "HiFi3"},
        {"fidelity": "HiFi2"},
    ),
    "trace": ({"trace": "off"},),
}


@dataclass(frozen=True)
class Step:
    """`function` is module:function of this package, called in a process of its own; `chips`: None, as asked."""

    name: str
    function: str
    limit_s: int  # kernels are compiled in it, at the first time
    needs: tuple[str, ...] = ("chips",)  # steps that must have been good
    targets: tuple[str, ...] = ("cpu", "mock", "sim", "device")
    chips: int | None = None
    in_quick: bool = True
    several: bool = False  # only where there is more than one chip
    weights: bool = False  # only with a checkpoint
    traced: bool = False  # only where the target records steps
    target: str | None = None  # in place of the one that is asked: it needs no chip

    @property
    def opens_chips(self) -> bool:
        return self.target is None and not self.function.startswith("system:")


_ONE = "tiny model, one chip"
_CHIPS, _REAL = ("device",), ("mock", "sim", "device")
STEPS = (
    Step("driver", "system:driver", 30, (), _CHIPS),
    Step("firmware", "system:firmware", 30, ("driver",), _CHIPS),
    Step("huge pages", "system:huge_pages", 30, ("driver",), _CHIPS),
    Step("ttnn", "system:ttnn", 120, (), _REAL),
    Step("compiler", "system:compiler", 120, (), _REAL),
    Step("chips", "chips:run", 300, ()),
    Step("collectives", "joins:run", 600, several=True),
    Step("operations", "operations:run", 3600),
    Step("modules", "modules:run", 1800, in_quick=False),
    Step("hazards", "hazards:run", 1800),
    Step(_ONE, "tiny:eager", 900, chips=1, in_quick=False),
    Step(_ONE + ", traced", "tiny:traced", 900, (_ONE,), chips=1, in_quick=False, traced=True),
    Step("tiny model", "tiny:eager", 900, ("chips", "collectives"), several=True),
    Step("tiny model, traced", "tiny:traced", 900, ("tiny model",), several=True, traced=True),
    Step("prefill, cut in two ways", "cuts:run", 1800, in_quick=False),
    Step("a decoder layer", "layer:run", 3600, ("chips", "collectives"), in_quick=False),
    Step("what the cost model expects", "real:expected", 600, (), in_quick=False, weights=True, target="cpu"),
    Step("Mixtral's answers", "real:answers", 7200, ("chips", "collectives"), in_quick=False, weights=True),
    Step("Mixtral's speed", "real:timing", 7200, ("Mixtral's answers",), in_quick=False, weights=True),
)
