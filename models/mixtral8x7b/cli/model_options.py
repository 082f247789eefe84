"""What a command that runs the model is asked about it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ModelOptions:
    """None: what the environment says, else the default."""

    checkpoint: Path | None
    precision: str
    target: str | None
    chips: int
    fabric: str | None
    cache_only: bool
    context: int | None  # tokens of one request, prompt and answer; None: as long as the model was made for
