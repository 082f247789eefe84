"""Paths that libraries can open."""

import os
from pathlib import Path


def is_utf8(path: Path) -> bool:
    """Whether the path is text: torch, sentencepiece and ttnn open no other."""
    try:
        os.fsencode(path).decode()
    except UnicodeDecodeError:
        return False
    return True
