"""The matrix unit's compiled loops against the rule that `chip_matmul` states, in fractions, one output at a time."""

from fractions import Fraction
from math import floor

import pytest
import torch

from ttnn_cpu.chip_matmul import MatrixUnit, product, product_of_each

SHAPE = ROWS, INNER, COLUMNS = 3, 70, 5


def spread(*shape: int, seed: int) -> torch.Tensor:
    """Of very different sizes, some 0, some subnormal."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(*shape, generator=generator) * (4 * torch.randn(*shape, generator=generator)).exp()
    chosen = torch.rand(*shape, generator=generator)
    values[chosen < 0.1] = 0.0
    values[chosen > 0.98] = 1e-40
    return values


@pytest.mark.parametrize("in_fp32", [False, True])
@pytest.mark.parametrize("phases", [1, 2, 3, 4])
def test_a_product(phases: int, in_fp32: bool) -> None:
    x, w = spread(ROWS, INNER, seed=phases), spread(INNER, COLUMNS, seed=10 + phases)
    made = product(x[None], w[None], MatrixUnit(phases, in_fp32, 0, False))[0]
    for row in range(ROWS):
        for column in range(COLUMNS):
            assert made[row, column].item() == by_hand(x[row], w[:, column], phases, in_fp32)


@pytest.mark.parametrize("ends_in_l1", [False, True])
def test_blocks_of_float32_are_added_in_l1(ends_in_l1: bool) -> None:
    x, w = spread(ROWS, INNER, seed=1), spread(INNER, COLUMNS, seed=2)
    made = product(x[None], w[None], MatrixUnit(2, True, 1, ends_in_l1))[0]
    parts = [slice(0, 32), slice(32, 64), slice(64, INNER)]
    for row in range(ROWS):
        for column in range(COLUMNS):
            pairs = [(x[row, part], w[part, column]) for part in parts]
            first, second = (torch.tensor(by_hand(*pair, 2, True)) for pair in pairs[:2])
            held = first + second
            if ends_in_l1:
                held = held + torch.tensor(by_hand(*pairs[2], 2, True))
                expected = (held.view(torch.int32) & -(1 << 13)).view(torch.float32).item()
            else:
                expected = by_hand(*pairs[2], 2, True, held.item())
            assert made[row, column].item() == expected


def test_products_of_each() -> None:
    a, b = spread(40, seed=3), spread(40, seed=4)
    made = product_of_each(a, b)
    for one, other, found in zip(a, b, made, strict=True):
        assert found.item() == by_hand(
            other.view(1), one.view(1), 4, False
        )  # the first factor is the matrix unit's second


def test_the_fault_of_the_last_place() -> None:
    x = torch.zeros(1, 1, 64)
    x[0, 0, [0, 16, 32, 40]] = torch.tensor([1.0, 2.0**-23, -1.0, -(2.0**-22)])
    for phases in (1, 2, 3, 4):
        assert product(x, torch.ones(1, 64, 1), MatrixUnit(phases, True, 0, False)).item() == -16.0
        assert product(x, torch.ones(1, 64, 1), MatrixUnit(phases, False, 0, False)).item() == 0.0


@pytest.mark.parametrize(
    ("a", "b"), [((1, 2, 3, 32), (1, 1, 32, 40)), ((1, 3, 32), (4, 32, 5)), ((4, 2, 3, 32), (1, 2, 32, 5))]
)
def test_batches(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """Small whole numbers: every sum is exact."""
    x, w = (torch.arange(torch.Size(shape).numel()).remainder(7).sub(3).float().view(shape) for shape in (a, b))
    assert torch.equal(product(x, w, MatrixUnit(2, True, 0, False)), x @ w)


def by_hand(x: torch.Tensor, w: torch.Tensor, phases: int, in_fp32: bool, held: float = 0.0) -> float:
    for tile in range(0, len(x), 32):
        for phase in range(phases):
            for first in range(tile, min(tile + 32, len(x)), 16):
                places = slice(first, min(first + 16, tile + 32, len(x)))
                held = step(held, x[places].tolist(), w[places].tolist(), phase, in_fp32)
    return held


def step(held: float, x: list[float], w: list[float], phase: int, in_fp32: bool) -> float:
    groups = [group(x[i : i + 8], w[i : i + 8], phase) for i in (0, 8)]
    top = max(exponent(held), *(e for e, _ in groups))
    unit = Fraction(2) ** (top - 150)
    steps = [floor(total / unit + Fraction(1, 2)) for e, total in groups if e > 0]
    steps.append(away(Fraction(held) / unit))
    if not in_fp32:
        *sums, own = (Fraction(n, 1 << 13) for n in steps)
        steps = [(1 << 13) * n for n in (*(floor(n + Fraction(1, 2)) for n in sums), away(own))]
    total = sum(steps)
    if total == -1 and in_fp32:
        return -(2.0 ** (top + 4 - 127))
    return rounded(total * unit, 24 if in_fp32 else 8)


def group(x: list[float], w: list[float], phase: int) -> tuple[int, Fraction]:
    """The exponent and the sum."""
    pairs = [(a, b) for a, b in zip(x, w, strict=True) if exponent(a) and exponent(b)]
    if not pairs:
        return 0, Fraction(0)
    lower = 127 + 5 * (phase & 1) + 7 * (phase >> 1)
    top = max(exponent(a) + exponent(b) for a, b in pairs) - lower
    unit = Fraction(2) ** (top - 137)
    products = (part(a, 7, 4, phase >> 1) * part(b, 5, 5, phase & 1) for a, b in pairs)
    return top, sum(away(one / unit) for one in products) * unit


def part(value: float, upper: int, lower: int, which: int) -> Fraction:
    """The upper bits of a significand, or the ones below them."""
    size = Fraction(2) ** (exponent(value) - 127)
    bits = floor(abs(Fraction(value)) / size * (1 << (upper + lower - 1)))
    kept = bits >> lower << lower if which == 0 else bits & ((1 << lower) - 1)
    return (1 if value > 0 else -1) * size * Fraction(kept, 1 << (upper + lower - 1))


def exponent(value: float) -> int:
    """The field of a float32; 0 of zeros and subnormals."""
    return int(torch.tensor(value).view(torch.int32)) >> 23 & 255


def away(value: Fraction) -> int:
    size = floor(abs(value) + Fraction(1, 2))
    return size if value > 0 else -size


def rounded(value: Fraction, bits: int) -> float:
    """To so many bits, halves away from zero; 0 where it is below float32's normal numbers."""
    if value == 0:
        return 0.0
    size = abs(value).numerator.bit_length() - value.denominator.bit_length()
    if Fraction(2) ** size > abs(value):
        size -= 1
    unit = Fraction(2) ** (size - bits + 1)
    return float(away(value / unit) * unit) if size > -127 else 0.0
