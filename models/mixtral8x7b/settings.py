"""What the environment says, read once at start. An option of a program beats its variable."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """None means that the variable is not set; whoever uses it has a default."""

    target: str | None  # MIXTRAL_TARGET: cpu, mock, sim or device
    fabric: str | None  # MIXTRAL_FABRIC: ring or line: how collectives go round the chips
    checkpoint: Path | None  # MIXTRAL_CKPT_DIR: a repacked directory
    tokenizer: Path | None  # MIXTRAL_TOKENIZER_PATH: tokenizer.model or the directory that holds it
    weight_cache: Path | None  # MIXTRAL_CACHE_PATH: where weights in device format are kept
    sfpi: Path | None  # MIXTRAL_SFPI, or as before MIXTRAL_MOCK_SFPI: the compiler for ttnn's kernels
    simulator: Path | None  # MIXTRAL_SIMULATOR: libttsim.so or the folder that holds it, for target sim
    sim_dispatch: str | None  # MIXTRAL_SIM_DISPATCH: slow or fast; traces need fast
    user_cache: Path  # XDG_CACHE_HOME or ~/.cache: where the repacked tiny checkpoints are kept

    @classmethod
    def from_environment(cls) -> "Settings":
        def path(variable: str) -> Path | None:
            value = os.environ.get(variable)
            return Path(os.path.expanduser(value)) if value else None

        return cls(
            target=os.environ.get("MIXTRAL_TARGET") or None,
            fabric=os.environ.get("MIXTRAL_FABRIC") or None,
            checkpoint=path("MIXTRAL_CKPT_DIR"),
            tokenizer=path("MIXTRAL_TOKENIZER_PATH"),
            weight_cache=path("MIXTRAL_CACHE_PATH"),
            sfpi=path("MIXTRAL_SFPI") or path("MIXTRAL_MOCK_SFPI"),
            simulator=path("MIXTRAL_SIMULATOR"),
            sim_dispatch=os.environ.get("MIXTRAL_SIM_DISPATCH") or None,
            user_cache=(path("XDG_CACHE_HOME") or Path(os.path.expanduser("~/.cache"))) / "mixtral8x7b-ttnn",
        )


def chosen_fabric(option: str | None) -> str:
    """What a program's option says, else MIXTRAL_FABRIC, else the ring."""
    return option or Settings.from_environment().fabric or "ring"
