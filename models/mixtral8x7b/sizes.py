"""Sizes for people."""


def size_text(n_bytes: int) -> str:
    """In the largest unit of which there is at least one: "3.0 MB", "512 bytes"."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= factor:
            return f"{n_bytes / factor:,.1f} {unit}"
    return f"{n_bytes} bytes"
