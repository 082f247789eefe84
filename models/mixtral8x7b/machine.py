"""What works on this machine: `./mixtral first-light` finds it and writes it down, every program reads it.

The file is machine.json in the user's cache, with a section for each target: what was found on chips says nothing about
the CPU backend. A program's option beats its variable, and that beats the file. Standard library only.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from models.mixtral8x7b.json_file import JsonError, read_object
from models.mixtral8x7b.settings import Settings, SettingsError

FILE = "machine.json"
AS_DESIGNED = "preset"  # fidelity: each matrix at that of its preset
ALLOWED: dict[str, tuple[Any, ...]] = {
    "fabric": ("ring", "line"),
    "trace": ("on", "off"),
    "attention_chunk": (256, 128, 64),
    "fidelity": (AS_DESIGNED, "HiFi3", "HiFi2"),
}


@dataclass(frozen=True)
class Machine:
    """How the model is run; the defaults are as it was designed."""

    fabric: str = "ring"  # how collectives go round the chips
    trace: str = "on"  # whether the decode step is recorded and replayed, where the target can
    attention_chunk: int = 256  # queries and keys that attention gives a core at a time, at most
    fidelity: str = AS_DESIGNED  # of matrices of 8 and 16 bits and of attention, the router and the norms

    def with_changes(self, changes: dict[str, Any]) -> "Machine":
        return replace(self, **changes)

    def beside(self, other: "Machine") -> str:
        """In what it is not the other: "fabric line for ring"; empty where they are alike."""
        mine, theirs = asdict(self), asdict(other)
        return ", ".join(
            f"{name.replace('_', ' ')} {mine[name]} for {theirs[name]}" for name in mine if mine[name] != theirs[name]
        )


DESIGNED = Machine()


def chosen_machine(target: str, fabric: str | None = None) -> Machine:
    """For a program on this target: its option (None: not given), else the variables, else the file, else the defaults.

    Raises SettingsError for a value that does not exist, in a variable or in the file.
    """
    settings = Settings.from_environment()
    found = {} if settings.caches is None else _section(settings.user_cache / FILE, target)
    return replace(DESIGNED, **found | _of_the_user(settings, fabric))


def asked_machine(fabric: str | None = None) -> Machine:
    """What the user asks for, by option or variable, else the defaults: where the search for what works begins."""
    return replace(DESIGNED, **_of_the_user(Settings.from_environment(), fabric))


def _of_the_user(settings: Settings, fabric: str | None) -> dict[str, Any]:
    variables = {
        "fabric": settings.fabric,
        "trace": settings.trace,
        "attention_chunk": settings.attention_chunk,
        "fidelity": settings.fidelity,
    }
    found = {
        name: _allowed(f"MIXTRAL_{name.upper()}", name, text) for name, text in variables.items() if text is not None
    }
    return found if fabric is None else found | {"fabric": fabric}


def _section(file: Path, target: str) -> dict[str, Any]:
    section = content(file).get(target, {})
    if not isinstance(section, dict):
        raise SettingsError(f"{file} has no object under {target}; expected what first-light writes: remove the file")
    return {name: _allowed(f"{name} of {file}", name, section[name]) for name in ALLOWED if name in section}


def content(file: Path) -> dict[str, Any]:
    """By target; empty where there is no file. Raises SettingsError for what is no JSON object."""
    try:
        return read_object(file) if file.exists() else {}
    except JsonError as error:
        raise SettingsError(f"{error}; remove it and run ./mixtral first-light again") from error


def _allowed(whose: str, name: str, value: Any) -> Any:
    for one in ALLOWED[name]:
        if str(one) == str(value):
            return one
    raise SettingsError(f"{whose} is {value!r}; expected one of {', '.join(map(str, ALLOWED[name]))}")
