"""Options that several commands have."""

from pathlib import Path
from typing import Annotated

from typer import Option

from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import TARGETS

PRECISIONS = ("performance", "accuracy", "mixed", "bfp4")

Checkpoint = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        help="A repacked directory (default: MIXTRAL_CKPT_DIR, else mixtral-tiny-instruct, which comes along).",
        show_default=False,
    ),
]
Target = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help=f"{', '.join(TARGETS)} (default: MIXTRAL_TARGET, else device where chips are, else cpu).",
        autocompletion=lambda: list(TARGETS),
        show_default=False,
    ),
]
Chips = Annotated[int, Option(metavar="N", help="1, 2, 4 or 8.")]
Fabric = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="ring or line, which joins the chips (default: MIXTRAL_FABRIC, else ring).",
        autocompletion=lambda: ["ring", "line"],
        show_default=False,
    ),
]
Precision = Annotated[
    str, Option(metavar="NAME", help=f"One of {', '.join(PRECISIONS)}.", autocompletion=lambda: list(PRECISIONS))
]
CacheOnly = Annotated[bool, Option("--cache-only", help="Refuse to convert weights: the weight cache must be whole.")]


def settings_with(checkpoint: Path | None) -> Settings:
    """What the environment says, but for the checkpoint where one is given. Raises SettingsError."""
    settings = Settings.from_environment()
    return settings if checkpoint is None else settings.with_checkpoint(checkpoint)
