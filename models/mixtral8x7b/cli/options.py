"""Options that several commands have."""

import secrets
from pathlib import Path
from typing import Annotated

from typer import Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import TARGETS

SEED_BITS = 31  # of a seed that nobody gave
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
Context = Annotated[
    int | None,
    Option(
        metavar="TOKENS",
        help="Prompt and answer together (default: as many as the model was made for).",
        show_default=False,
    ),
]
MaxNewTokens = Annotated[int, Option(min=0, metavar="N", help="Of an answer; 0: until the context ends.")]
Temperature = Annotated[float, Option(metavar="T", help="0 takes the likeliest token always.")]
TopP = Annotated[float, Option(metavar="P", help="Draw from the likeliest tokens that have this share together.")]
TopK = Annotated[int, Option(metavar="K", help="Draw from this many of the likeliest tokens, 1 to 32.")]
Seed = Annotated[
    int | None,
    Option(metavar="SEED", help="What is drawn with it repeats (default: another each time).", show_default=False),
]
Stop = Annotated[
    list[str] | None,
    Option(metavar="TEXT", help="The answer ends before it; may be given several times.", show_default=False),
]


def chosen_seed(seed: int | None) -> int:
    """The one that is given, else a random one."""
    return secrets.randbits(SEED_BITS) if seed is None else seed


def settings_with(checkpoint: Path | None) -> Settings:
    """What the environment says, but for the checkpoint where one is given. Raises SettingsError."""
    settings = Settings.from_environment()
    return settings if checkpoint is None else settings.with_checkpoint(checkpoint)


def whole_numbers(option: str, text: str) -> list[int]:
    """ "1, 32" as [1, 32]. Raises UsageMistake, which names the option."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) for part in parts):
        raise UsageMistake(f"{option} is {text!r}; expected whole numbers of at least 1 with commas between them")
    return [int(part) for part in parts]
