"""What a step's process is asked."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.mixtral8x7b.machine import Machine


@dataclass(frozen=True)
class Asked:
    """`full_size`: Mixtral 8x7B's own sizes, where the step has a choice; else small ones."""

    step: str
    function: str  # module:function, in this package
    target: str
    chips: int
    machine: Machine
    precision: str = "performance"
    quick: bool = False
    full_size: bool = False
    checkpoint: str | None = None  # a repacked directory
    earlier: dict[str, str] = field(default_factory=dict)  # facts that earlier steps told

    @property
    def is_simulated(self) -> bool:
        """Chips that take minutes for what chips do in a millisecond: a step does with fewer rows."""
        return self.target == "sim"

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> "Asked":
        data: dict[str, Any] = json.loads(file.read_text())
        return cls(**data | {"machine": Machine(**data["machine"])})
