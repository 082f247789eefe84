"""machine.json: writes what works on this machine, for every program to read (`models.mixtral8x7b.machine`)."""

import json
from dataclasses import asdict
from pathlib import Path

from models.mixtral8x7b.durable import write_text_durably
from models.mixtral8x7b.machine import FILE, Machine, content


def write_machine(user_cache: Path, target: str, machine: Machine, found_with: dict[str, str]) -> Path:
    """The section of this target, with what it was found with; the others stay. Raises SettingsError, OSError."""
    file = user_cache / FILE
    user_cache.mkdir(parents=True, exist_ok=True)
    sections = content(file) | {target: {**asdict(machine), "found_with": found_with}}
    write_text_durably(file, json.dumps(sections, indent=1) + "\n")
    return file
