"""Rounding on the host against the rule in Python integers: slow, and sharing nothing with the fast implementation."""

import struct

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import get, open_mesh, put

BITS = {ttnn.bfloat8_b: 7, ttnn.bfloat4_b: 3}


def bits_of(value: float) -> int:
    return struct.unpack("<I", struct.pack("<f", value))[0]


def float_of(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def slow_group(group: list[float], bits: int) -> list[float]:
    """One group of 16: shared exponent, truncating shift, half to even, clamp. Finite values only."""
    words = [bits_of(value) for value in group]
    shared = max(word >> 23 & 255 for word in words)
    result = []
    for word in words:
        exponent = word >> 23 & 255
        if exponent == 0:
            result.append(0.0)
            continue
        significand = (word & 0x7FFFFF | 0x800000) >> shared - exponent
        unit = 1 << 24 - bits
        steps, rest = divmod(significand, unit)
        if rest * 2 > unit or (rest * 2 == unit and steps % 2 == 1):
            steps += 1
        steps = min(steps, 2**bits - 1)
        value = steps * 2.0 ** (shared - 127 - (bits - 1))
        result.append(-value if word >> 31 and steps else value)
    return result


def slow_round(values: torch.Tensor, bits: int, pad: float) -> torch.Tensor:
    width = values.shape[-1]
    rows = []
    for row in values.reshape(-1, width).tolist():
        row = row + [pad] * (-width % 32)
        rows.append([x for i in range(0, len(row), 16) for x in slow_group(row[i : i + 16], bits)][:width])
    return torch.tensor(rows).reshape(values.shape)


def hostile() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    scale = torch.exp2(torch.randint(-126, 127, (32, 64)).float())
    ties = torch.randint(-255, 256, (64, 64)).float() / 128
    ties[:, ::16] = 1.0
    zeros = torch.randn(16, 32)
    zeros[torch.rand(16, 32) < 0.5] = 0.0
    zeros[torch.rand(16, 32) < 0.3] = -0.0
    zeros[:4] = -0.0
    return {
        "normal": torch.randn(32, 64),
        "wide": torch.randn(32, 64) * torch.exp2(torch.randint(-12, 12, (32, 64)).float()),
        "very wide": torch.randn(32, 64).clamp(-1.9, 1.9) * scale,
        "ties": ties,
        "ties with a sticky bit": ties * (1 + torch.randint(-2, 3, (64, 64)).float() * 2.0**-23),
        "zeros": zeros,
        "denormals": torch.randn(16, 32) * 2.0**-126,
        "tiny": torch.randn(16, 32) * torch.exp2(torch.randint(-126, -100, (16, 32)).float()),
        "top of the range": torch.randn(16, 32).sign() * (2 - torch.rand(16, 32) * 2.0**-5),
        "narrow": torch.randn(3, 5),
        "odd": torch.randn(2, 3, 33, 47),
        "row": torch.randn(100),
    }


@pytest.mark.parametrize("dtype", BITS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", hostile())
def test_block_floats_equal_the_rule_bit_for_bit(name: str, dtype: ttnn.DataType) -> None:
    values = hostile()[name]
    rounded = ttnn.to_torch(ttnn.from_torch(values, dtype=dtype))
    expected = slow_round(values, BITS[dtype], 0.0)
    assert torch.equal(rounded.view(torch.int32), expected.view(torch.int32))
    assert torch.equal(ttnn.to_torch(ttnn.from_torch(rounded, dtype=dtype)), rounded), "rounding twice changes nothing"


@pytest.mark.parametrize("pad", [1.0, -100.0])
def test_the_pad_value_takes_part_in_the_last_exponent(pad: float) -> None:
    values = torch.randn(5, 35)
    rounded = ttnn.to_torch(ttnn.from_torch(values, dtype=ttnn.bfloat8_b, pad_value=pad))
    assert torch.equal(rounded, slow_round(values, 7, pad))


def test_worked_examples() -> None:
    """Step 1/64 in bfloat8_b and 1/4 in bfloat4_b beside a largest element of 1; see the docstring of rounding.py."""
    group = torch.zeros(16)
    group[:6] = torch.tensor([1.0, 0.30, 0.375, 0.125, -0.1, 1.9])
    four = ttnn.to_torch(ttnn.from_torch(group, dtype=ttnn.bfloat4_b))
    assert four[:6].tolist() == [1.0, 0.25, 0.5, 0.0, 0.0, 1.75]
    assert not torch.signbit(four[4]), "-0.1 underflows to +0"
    eight = ttnn.to_torch(ttnn.from_torch(group, dtype=ttnn.bfloat8_b))
    assert eight[:6].tolist() == [1.0, 19 / 64, 24 / 64, 8 / 64, -6 / 64, 122 / 64]


def test_the_shift_truncates_before_rounding() -> None:
    """1 + 2**-7 + 2**-30 relative to a group exponent that drops the last bit is a tie, and goes to even."""
    group = torch.zeros(16)
    group[0] = 1.0
    # 2.5 steps of 1/64, plus one unit in the last place: the shift by 5 drops it, leaving the tie 2.5 -> 2
    group[1] = float_of(bits_of(2.5 / 64) + 1)
    rounded = ttnn.to_torch(ttnn.from_torch(group, dtype=ttnn.bfloat8_b))
    assert rounded[1].item() == 2 / 64
    assert group[1].item() > 2.5 / 64, "nearest would be 3 / 64"


def test_inf_and_nan_survive_and_flush_small_neighbours() -> None:
    group = torch.zeros(32)
    group[:4] = torch.tensor([float("inf"), 1.0, 2.0, -float("inf")])
    group[16:18] = torch.tensor([float("nan"), 3.0])
    rounded = ttnn.to_torch(ttnn.from_torch(group, dtype=ttnn.bfloat8_b))
    assert rounded[:4].tolist() == [float("inf"), 0.0, 0.0, -float("inf")]
    assert rounded[16].isnan()
    assert rounded[17] == 0.0


def test_bfloat16_is_nearest_even_with_one_nan() -> None:
    words = torch.tensor(
        [0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800001, -0x00000001, 0x00000001, -0x80000000]
    )
    rounded = ttnn.to_torch(ttnn.from_torch(words.to(torch.int32).view(torch.float32), dtype=ttnn.bfloat16))
    patterns = [word & 0xFFFF for word in rounded.view(torch.int16).tolist()]
    assert patterns == [0x3F80, 0x3F82, 0x3F81, 0x7F80, 0x7FC0, 0x7FC0, 0x0000, 0x8000]


def test_other_floats_go_through_bfloat16() -> None:
    value = 1 + 2.0**-8 + 2.0**-7  # 1.01171875: a tie in bf16 (to 1.015625), and above 64.5 steps in bfp8
    source = torch.full((32,), value, dtype=torch.float64)
    assert ttnn.to_torch(ttnn.from_torch(source, dtype=ttnn.bfloat8_b))[0].item() == 65 / 64
    assert ttnn.to_torch(ttnn.from_torch(source.float(), dtype=ttnn.bfloat8_b))[0].item() == 65 / 64
    low = 1 + 2.0**-7 - 2.0**-20  # bf16 rounds it up to the tie 1 + 2**-7, which goes to even: 64 steps either way
    assert ttnn.to_torch(ttnn.from_torch(torch.full((32,), low), dtype=ttnn.bfloat8_b))[0].item() == 1.0


def test_shards_are_rounded_on_their_own() -> None:
    """24 columns a device: the groups of 16 start anew on each device."""
    mesh = open_mesh(2)
    values = torch.randn(32, 48)
    tensor = put(mesh, values, ttnn.bfloat4_b, shard=1)
    for device, part in enumerate(values.chunk(2, 1)):
        assert torch.equal(get(tensor, device), slow_round(part, 3, 0.0))
