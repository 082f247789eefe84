"""What the environment says, read once at start. An option of a program beats its variable."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.paths import is_utf8


class SettingsError(Mistake):
    """A variable that cannot be used; the message names it and what it should be."""


@dataclass(frozen=True)
class Settings:
    """None means that the variable is not set; whoever uses it has a default."""

    target: str | None  # MIXTRAL_TARGET: cpu, mock, sim or device
    fabric: str | None  # MIXTRAL_FABRIC: ring or line: how collectives go round the chips
    trace: str | None  # MIXTRAL_TRACE: on or off: whether the decode step is recorded and replayed
    attention_chunk: str | None  # MIXTRAL_ATTENTION_CHUNK: 256, 128 or 64 rows and keys of a core at a time
    fidelity: str | None  # MIXTRAL_FIDELITY: preset, HiFi3 or HiFi2, of all but 4-bit weights
    checkpoint: Path | None  # MIXTRAL_CKPT_DIR: a repacked directory
    tokenizer: Path | None  # MIXTRAL_TOKENIZER_PATH: tokenizer.model, tokenizer.json or the directory that holds it
    weight_cache: Path | None  # MIXTRAL_CACHE_PATH: where weights in device format are kept
    sfpi: Path | None  # MIXTRAL_SFPI, or as before MIXTRAL_MOCK_SFPI: the compiler for ttnn's kernels
    simulator: Path | None  # MIXTRAL_SIMULATOR: libttsim.so or the folder that holds it, for target sim
    sim_dispatch: str | None  # MIXTRAL_SIM_DISPATCH: slow or fast; traces need fast
    caches: Path | None  # XDG_CACHE_HOME or ~/.cache; None where there is no home either

    @classmethod
    def from_environment(cls) -> "Settings":
        """Raises SettingsError for a path that begins with an unknown user's home or is not UTF-8."""
        return cls(
            target=os.environ.get("MIXTRAL_TARGET") or None,
            fabric=os.environ.get("MIXTRAL_FABRIC") or None,
            trace=os.environ.get("MIXTRAL_TRACE") or None,
            attention_chunk=os.environ.get("MIXTRAL_ATTENTION_CHUNK") or None,
            fidelity=os.environ.get("MIXTRAL_FIDELITY") or None,
            checkpoint=_path("MIXTRAL_CKPT_DIR"),
            tokenizer=_path("MIXTRAL_TOKENIZER_PATH"),
            weight_cache=_path("MIXTRAL_CACHE_PATH"),
            sfpi=_path("MIXTRAL_SFPI") or _path("MIXTRAL_MOCK_SFPI"),
            simulator=_path("MIXTRAL_SIMULATOR"),
            sim_dispatch=os.environ.get("MIXTRAL_SIM_DISPATCH") or None,
            caches=_path("XDG_CACHE_HOME") or _expanded("~/.cache"),
        )

    def with_checkpoint(self, directory: Path) -> "Settings":
        """The same, but for the checkpoint; raises SettingsError for a path that is not UTF-8."""
        if not is_utf8(directory):
            raise SettingsError(f"the checkpoint {directory} is not UTF-8; expected a path that is: rename the folder")
        return replace(self, checkpoint=directory)

    @property
    def user_cache(self) -> Path:
        """Where the repacked tiny checkpoints, the mock's folders and a fetched compiler are kept.

        Raises SettingsError where there is no home to keep them in.
        """
        if self.caches is None:
            raise SettingsError(
                "there is no home to keep files in (HOME is not set, and this user has no other); set XDG_CACHE_HOME "
                "to a folder that is writable"
            )
        return self.caches / "mixtral8x7b-ttnn"


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    if not value:
        return None
    path = _expanded(value)
    if path is None:
        raise SettingsError(f"{variable} is {value}, which begins with nobody's home; expected a path: spell it out")
    if not is_utf8(path):
        raise SettingsError(f"{variable} is {value}, which is not UTF-8; expected a path that is: rename the folder")
    return path


def _expanded(path: str) -> Path | None:
    """A leading ~ as the home of its user; None if he has none. An empty HOME is none."""
    if path.split("/")[0] == "~" and os.environ.get("HOME") == "":
        return None
    expanded = os.path.expanduser(path)
    return None if expanded.startswith("~") else Path(expanded)
