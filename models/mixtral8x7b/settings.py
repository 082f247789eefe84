"""What the environment says, read once at start. An option of a program beats its variable."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """None means that the variable is not set; whoever uses it has a default."""

    target: str | None  # MIXTRAL_TARGET: cpu, mock or device
    checkpoint: Path | None  # MIXTRAL_CKPT_DIR: a repacked directory
    tokenizer: Path | None  # MIXTRAL_TOKENIZER_PATH: tokenizer.model or the directory that holds it
    weight_cache: Path | None  # MIXTRAL_CACHE_PATH: where weights in device format are kept
    sfpi: Path | None  # MIXTRAL_SFPI (once MIXTRAL_MOCK_SFPI): a real SFPI compiler, instead of the stand-in
    user_cache: Path  # XDG_CACHE_HOME or ~/.cache: where the repacked tiny checkpoints are kept

    @classmethod
    def from_environment(cls) -> "Settings":
        def path(variable: str) -> Path | None:
            value = os.environ.get(variable)
            return Path(os.path.expanduser(value)) if value else None

        return cls(
            target=os.environ.get("MIXTRAL_TARGET") or None,
            checkpoint=path("MIXTRAL_CKPT_DIR"),
            tokenizer=path("MIXTRAL_TOKENIZER_PATH"),
            weight_cache=path("MIXTRAL_CACHE_PATH"),
            sfpi=path("MIXTRAL_SFPI") or path("MIXTRAL_MOCK_SFPI"),
            user_cache=(path("XDG_CACHE_HOME") or Path(os.path.expanduser("~/.cache"))) / "mixtral8x7b-ttnn",
        )
