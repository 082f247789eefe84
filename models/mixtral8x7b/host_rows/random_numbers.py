"""What decides a draw."""

import hashlib

BITS = 48  # few enough that a total times a random number stays below the total in float64


def random_number(seed: int, index: int) -> float:
    """0 to less than 1, of a request's seed, of which every bit counts, and of how many tokens its answer has."""
    digest = hashlib.sha256(f"host row {seed:x} {index}".encode()).digest()
    return (int.from_bytes(digest, "big") >> (8 * len(digest) - BITS)) / (1 << BITS)
