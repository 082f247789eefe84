"""JSON files that somebody else wrote: in any UTF encoding, with or without a byte order mark."""

import json
from pathlib import Path
from typing import Any

from models.mixtral8x7b.mistake import Mistake

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class JsonError(Mistake, ValueError):
    """A file that holds no JSON object; the message names the file, what it is, and what to do."""


def read_object(file: Path) -> dict[str, Any]:
    """The object in a file. Raises JsonError."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise JsonError(f"{file} cannot be read ({error.strerror}); expected a file with a JSON object") from error
    if content.startswith(_LFS_POINTER):
        raise JsonError(f"{file} is a Git LFS pointer, not the file; run git lfs pull where it was cloned")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise JsonError(f"{file} is not readable as JSON ({error}); expected an object in braces") from error
    if not isinstance(values, dict):
        raise JsonError(f"{file} holds a {type(values).__name__}; expected an object in braces")
    return values


def is_lfs_pointer(file: Path) -> bool:
    """Whether a clone without Git LFS left three lines of text in the file's place. Raises OSError."""
    with file.open("rb") as opened:
        return opened.read(len(_LFS_POINTER)) == _LFS_POINTER
