"""The random numbers of `sampling`: one generator per row, alike on every device.

On silicon every row has a core with its own generator, seeded by `manual_seed` and advanced by each draw. Here a row's
generator is (seed, number of draws so far), hashed to 16 bits: reproducible, and independent of the other rows.
"""

from __future__ import annotations

MAX_ROWS = 32
LATTICE = 1 << 16
_MASK = (1 << 64) - 1


def _mix(value: int) -> int:
    """splitmix64's finaliser: every bit of the result depends on every bit of the value."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class RandomState:
    def __init__(self) -> None:
        # before the first manual_seed rows differ from each other, and every new mesh starts alike
        self._seeds = [_mix(row) for row in range(MAX_ROWS)]
        self._draws = [0] * MAX_ROWS

    def seed_all(self, seed: int) -> None:
        """The same seed for every row, as a single seed gives every core the same generator."""
        for row in range(MAX_ROWS):
            self.seed_row(row, seed)

    def seed_row(self, row: int, seed: int) -> None:
        self._seeds[row] = seed
        self._draws[row] = 0

    def draw(self, rows: int) -> list[float]:
        """One number in [0, 1) on the lattice of 2 ** -16 for each of the first `rows` rows."""
        numbers = []
        for row in range(rows):
            numbers.append((_mix(_mix(self._seeds[row]) ^ self._draws[row]) >> 48) / LATTICE)
            self._draws[row] += 1
        return numbers
