"""What operations on the chips write, against literal values and the rule in Python integers, slow and on its own."""

import math
from collections.abc import Callable

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded
from tests.cpu_backend.test_rounding import bits_of, hostile

INF, NAN = float("inf"), float("nan")


def floats(words: list[int]) -> torch.Tensor:
    return torch.tensor(words, dtype=torch.int64).to(torch.int32).view(torch.float32)


def typecast(values: torch.Tensor, dtype: ttnn.DataType) -> torch.Tensor:
    return get(ttnn.typecast(put(open_mesh(), values), dtype))


def added(values: torch.Tensor, dtype: ttnn.DataType) -> torch.Tensor:
    """To 0: any arithmetic whose result is `values` and that leaves rounding to the packer."""
    return get(ttnn.add(put(open_mesh(), values), 0.0, dtype=dtype))


# ---------------------------------------------------------------- the rule, slow


def halved(number: int, times: int) -> int:
    """number / 2 ** times to nearest, halves up."""
    return (2 * number + 2**times) // 2 ** (times + 1)


def narrowed(exponent: int, significand: int, have: int, want: int) -> tuple[int, int]:
    """A significand of `have` bits in `want` bits; what rounds up to one bit more carries into the exponent."""
    significand = halved(significand, have - want)
    return (exponent + 1, significand // 2) if significand == 2**want else (exponent, significand)


def slow_group(group: list[float], bits: int, packed: bool) -> list[float]:
    """16 finite values in a block float of `bits` magnitude bits; `packed` as by arithmetic, else as by typecast."""
    parts = []
    for word in map(bits_of, group):
        exponent, significand = word >> 23 & 255, word & 0x7FFFFF | 0x800000
        if packed:
            exponent, significand = narrowed(*narrowed(exponent, significand, 24, 8), 8, 7)
            significand *= 2
        else:
            significand >>= 16
        parts.append((word >> 31, exponent, significand) if word >> 23 & 255 else (0, 0, 0))
    shared = max(exponent for _, exponent, _ in parts)
    result = []
    for sign, exponent, significand in parts:
        steps = min(halved(significand, shared - exponent + 1), 127) >> 7 - bits
        value = math.ldexp(steps, shared - 127 - bits + 1)
        result.append(-value if sign and steps else value)
    return result


def slow_block(values: torch.Tensor, bits: int, packed: bool) -> torch.Tensor:
    width = values.shape[-1]
    rows = [row + [0.0] * (-width % 16) for row in values.reshape(-1, width).tolist()]
    done = [[x for i in range(0, len(row), 16) for x in slow_group(row[i : i + 16], bits, packed)] for row in rows]
    return torch.tensor([row[:width] for row in done]).reshape(values.shape)


def slow_bfloat16(values: torch.Tensor) -> torch.Tensor:
    result = []
    for word in map(bits_of, values.flatten().tolist()):
        exponent, significand = narrowed(word >> 23 & 255, word & 0x7FFFFF | 0x800000, 24, 8)
        value = math.ldexp(significand, exponent - 134) if word >> 23 & 255 else 0.0
        result.append(-value if word >> 31 and value else value)
    return torch.tensor(result).reshape(values.shape)


def random_bits() -> torch.Tensor:
    """Every mantissa and sign; the exponents of a group of 16 within 16 of each other, anywhere below the largest."""
    generator = torch.Generator().manual_seed(0)
    top = torch.randint(1, 254, (256, 4, 1), generator=generator)
    exponents = (top - torch.randint(0, 17, (256, 4, 16), generator=generator)).clamp(min=0)
    rest = torch.randint(0, 1 << 24, (256, 4, 16), generator=generator)
    words = (rest >> 23 << 31) | exponents << 23 | rest & 0x7FFFFF
    return floats(words.flatten().tolist()).view(256, 64)


def inputs() -> dict[str, torch.Tensor]:
    return {"random bits": random_bits(), "bf16": random_bits().bfloat16().float(), **hostile()}


def assert_same_bits(ours: torch.Tensor, expected: torch.Tensor) -> None:
    assert torch.equal(ours.float().view(torch.int32), expected.view(torch.int32))


@pytest.mark.parametrize("name", inputs())
@pytest.mark.parametrize("dtype", [ttnn.bfloat8_b, ttnn.bfloat4_b], ids=lambda d: d.name)
@pytest.mark.parametrize("write", [typecast, added])
def test_block_floats_equal_the_rule(
    name: str, dtype: ttnn.DataType, write: Callable[[torch.Tensor, ttnn.DataType], torch.Tensor]
) -> None:
    values, bits = inputs()[name], {ttnn.bfloat8_b: 7, ttnn.bfloat4_b: 3}[dtype]
    ours = write(values, dtype)
    assert_same_bits(ours, slow_block(values, bits, packed=write is added))
    assert_same_bits(write(ours, dtype), ours)  # rounding twice changes nothing


@pytest.mark.parametrize("name", inputs())
def test_bfloat16_equals_the_rule(name: str) -> None:
    values = inputs()[name]
    for write in (typecast, added):
        assert_same_bits(write(values, ttnn.bfloat16), slow_bfloat16(values))


# ---------------------------------------------------------------- literal values


@pytest.mark.parametrize(
    ("word", "pattern"),
    [
        (0x3F80_8000, 0x3F81),  # a tie goes away from zero, where the host's goes to the even 0x3f80
        (0xBF80_8000, 0xBF81),
        (0x3F80_7FFF, 0x3F80),
        (0x3FFF_8000, 0x4000),  # carried into the exponent
        (0x7F7F_8000, 0x7F80),  # over the top
        (0x7F80_0000, 0x7F80),
        (0xFF80_0000, 0xFF80),
        (0x7FC0_0000, 0x7F80),  # nan
        (0x7F80_0001, 0x7F80),
        (0x7FFF_FFFF, 0x7F80),
        (0xFFFF_FFFF, 0xFF80),
        (0x8000_0000, 0x0000),  # -0
        (0x007F_FFFF, 0x0000),  # the largest denormal, though it is nearest to the smallest normal number
        (0x8040_0000, 0x0000),
        (0x0080_0000, 0x0080),
        (0x8080_0000, 0x8080),
    ],
)
def test_bfloat16(word: int, pattern: int) -> None:
    values = torch.ones(32, 32)
    values[0, :1] = floats([word])
    for write in (typecast, added):
        assert write(values, ttnn.bfloat16).view(torch.int16)[0, 0].item() & 0xFFFF == pattern


def both(*group: float) -> tuple[list[float], list[float]]:
    """A group of 16, filled up with zeros, in bfloat8_b by typecast and by arithmetic, in steps of 1/64."""
    values = torch.zeros(32, 32)
    values[0, : len(group)] = torch.tensor(group)
    cast, packed = (write(values, ttnn.bfloat8_b)[0, : len(group)] * 64 for write in (typecast, added))
    return cast.tolist(), packed.tolist()


def test_ties_go_away_from_zero() -> None:
    assert both(1.0, 2.5 / 64, -2.5 / 64) == ([64, 3, -3], [64, 3, -3])  # the host: 2, the even one
    assert both(1.0, 3.5 / 64, 0.5 / 64) == ([64, 4, 1], [64, 4, 1])
    assert both(129 / 128) == ([65], [65])


def test_arithmetic_rounds_up_to_three_times() -> None:
    """In steps of 1/64: 10.375 becomes 10.5, for which 7 bits are enough, then 11; 16.4375, 16.5, 17."""
    assert both(1.0, 10.4375 / 64, 16.4375 / 64) == ([64, 10, 16], [64, 11, 17])
    assert both(1.0, 10.4375 / 64 - 2**-20)[1] == [64, 11], "rounded to bf16 before"
    assert both(1.0, 10.5 / 64 - 2**-20)[0] == [64, 10], "typecast cuts to bf16"


def test_a_carry_into_the_shared_exponent() -> None:
    """255/128, rounded to 7 bits, is 2: the group's step doubles and 1/64 is half of one. Typecast clamps to 127."""
    assert both(255 / 128, 1 / 64, 0.75 / 64) == ([127, 1, 1], [128, 2, 0])
    assert both(-255 / 128, 1.0) == ([-127, 64], [-128, 64])


def test_small_neighbours_become_plus_zero() -> None:
    rounded = typecast(floats([0x3F80_0000, 0xBB80_0000, 0xBB7F_FFFF, 0x8000_0000] * 256).view(32, 32), ttnn.bfloat8_b)
    assert rounded[0, :4].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert not torch.signbit(rounded[0, 1:4]).any()


def test_bfloat4_keeps_the_upper_bits_of_bfloat8() -> None:
    values = torch.zeros(32, 32)
    values[0, :4] = torch.tensor([1.0, 0.4, -0.4, 1.9])
    for write in (typecast, added):  # the host's rule: 0.5 is nearer
        assert write(values, ttnn.bfloat4_b)[0, :4].tolist() == [1.0, 0.25, -0.25, 1.75]


def test_infinity_and_nan_in_block_floats() -> None:
    """They are ordinary numbers of the largest exponent: neighbours become zero. Arithmetic makes nan infinite."""
    values = torch.zeros(32, 32)
    values[0, :5] = torch.tensor([INF, -INF, NAN, 1.0, 3e38])
    cast, packed = typecast(values, ttnn.bfloat8_b)[0, :5], added(values, ttnn.bfloat8_b)[0, :5]
    assert cast[:2].tolist() == packed[:2].tolist() == [INF, -INF]
    assert cast[2].isnan()
    assert packed[2].item() == INF
    assert cast[3].item() == packed[3].item() == 0.0
    assert math.isclose(packed[4].item(), 57 * 2.0**122)


# ---------------------------------------------------------------- the two units


def of_bfloat16(operation: Callable[..., ttnn.Tensor], a: float, b: float) -> float:
    tile = torch.ones(32, 32)
    mesh = open_mesh()
    result = operation(put(mesh, a * tile, ttnn.bfloat16), put(mesh, b * tile, ttnn.bfloat16))
    return get(result)[0, 0].item()


def test_a_product_rounds_its_ties_to_even() -> None:
    """0.75 * 0.51171875 is 98.25 / 256: half way between 98 and 98.5."""
    assert of_bfloat16(ttnn.multiply, 0.75, 0.51171875) * 256 == 98.0
    assert of_bfloat16(ttnn.multiply, 0.75, 0.515625) * 256 == 99.0


def test_a_sum_rounds_both_operands_and_then_itself() -> None:
    """In steps of 1/128: 179 and -3.546875, which becomes -3.5; 175.5 goes to 176, and 175.453125 would go to 175."""
    assert of_bfloat16(ttnn.add, 1.3984375, -0.02770996094) * 128 == 176.0
    assert of_bfloat16(ttnn.add, 1.3984375, -0.0283203125) * 128 == 175.0
    assert of_bfloat16(ttnn.add, 1.0, -1.0) == 0.0
    assert of_bfloat16(ttnn.add, 0.0, 2.0**-126) == 2.0**-126
    assert of_bfloat16(ttnn.add, 3e38, 3e38) == INF


# ---------------------------------------------------------------- which operation follows which rule


def test_cache_update_follows_arithmetic_and_fill_moves() -> None:
    mesh = open_mesh()
    rows = random_bits()[:4].bfloat16().float()
    place, tables = sharded("HEIGHT", 4, 32, 64), counters(mesh, [[0], [1], [2], [3]])
    caches = [ttnn.zeros([4, 1, 32, 64], ttnn.bfloat8_b, TILE, mesh) for _ in range(2)]
    apart = ttnn.CoreRangeSet([ttnn.CoreRange(ttnn.CoreCoord(0, 1), ttnn.CoreCoord(3, 1))])
    other = ttnn.MemoryConfig(
        ttnn.TensorMemoryLayout.HEIGHT_SHARDED,
        ttnn.BufferType.L1,
        ttnn.ShardSpec(apart, (32, 64), ttnn.ShardOrientation.ROW_MAJOR),
    )
    new = [put(mesh, rows.view(1, 4, 1, 64), ttnn.bfloat16, memory_config=at) for at in (place, other)]
    ttnn.experimental.paged_fused_update_cache(
        caches[0], new[0], caches[1], new[1], update_idxs_tensor=counters(mesh, [0, 5, 31, 7]), page_table=tables
    )
    expected = slow_block(rows, 7, packed=True)
    for cache in caches:
        for user, position in enumerate((0, 5, 31, 7)):
            assert_same_bits(get(cache)[user, 0, position], expected[user])
    filled = ttnn.zeros([4, 1, 32, 64], ttnn.bfloat8_b, TILE, mesh)
    prompt = ttnn.typecast(put(mesh, random_bits()[:32].view(1, 1, 32, 64), ttnn.bfloat16), ttnn.bfloat8_b)
    ttnn.experimental.paged_fill_cache(filled, prompt, tables, batch_idx=2)
    assert_same_bits(get(filled)[2], get(prompt)[0])


def test_results_of_two_devices_and_of_matmul_follow_arithmetic() -> None:
    mesh = open_mesh(2)
    x = torch.randn(2, 1, 64, 64)
    split = put(mesh, x, shard=0)
    assert torch.equal(get(ttnn.all_reduce(ttnn.typecast(split, ttnn.float32)))[0], x[0] + x[1])
    halves = put(mesh, x.bfloat16(), ttnn.bfloat16, shard=0)
    assert_same_bits(get(ttnn.all_reduce(halves)), slow_bfloat16(x.bfloat16().float().sum(0, keepdim=True)))
    product = ttnn.matmul(split, put(mesh, torch.eye(64)), dtype=ttnn.bfloat8_b)
    assert_same_bits(get(product, 1)[0], slow_block(x[1], 7, packed=True))


def test_moving_keeps_every_bit() -> None:
    """nan with its payload, denormals and -0 among them."""
    mesh = open_mesh(2)
    words = torch.tensor([0x3F80, 0x7FC1, 0xFF81, 0x8000, 0x0001, 0x807F, 0x7F80, 0xC2F7], dtype=torch.int32)
    source = words.to(torch.int16).repeat(512).view(torch.bfloat16).view(1, 1, 64, 64)
    x, rows = put(mesh, source, ttnn.bfloat16), put(mesh, source, ttnn.bfloat16, ROWS)

    def same(moved: ttnn.Tensor, expected: torch.Tensor) -> None:
        assert torch.equal(get(moved).view(torch.int16), expected.contiguous().view(torch.int16))

    same(ttnn.reshape(x, (1, 2, 32, 64)), source.view(1, 2, 32, 64))
    same(ttnn.slice(x, [0, 0, 3, 5], [1, 1, 40, 64]), source[:, :, 3:40, 5:])
    same(ttnn.transpose(x, 2, 3), source.mT)
    same(ttnn.concat([x, x], 3), torch.cat([source, source], 3))
    same(ttnn.pad(x, [(0, 0), (0, 32)], 1.0), torch.nn.functional.pad(source, (0, 32), value=1.0))
    same(ttnn.clone(x), source)
    same(ttnn.to_layout(x, ROWS), source)
    same(ttnn.to_memory_config(x, ttnn.L1_MEMORY_CONFIG), source)
    same(ttnn.all_gather(x, 2), torch.cat([source, source], 2))
    ids = put(mesh, torch.arange(64, dtype=torch.int32).view(1, 64), ttnn.uint32, ROWS)
    same(ttnn.embedding(ids, rows, layout=TILE), source[0])
    q, _, _ = ttnn.experimental.nlp_create_qkv_heads(
        ttnn.concat([x, x], 3), num_heads=2, num_kv_heads=1, transpose_k_heads=False
    )
    same(q, torch.stack([source[0, 0, :, :32], source[0, 0, :, 32:]])[None])
    blocks = put(mesh, torch.where(source.isfinite(), source, 1.0), ttnn.bfloat8_b)
    assert_same_bits(get(ttnn.slice(blocks, [0, 0, 32, 0], [1, 1, 64, 64])), get(blocks)[:, :, 32:])


def test_moved_block_floats_get_new_neighbours_and_are_rounded_anew() -> None:
    mesh = open_mesh()
    x = put(mesh, torch.randn(32, 64), ttnn.bfloat8_b)
    moved = get(ttnn.transpose(x, 0, 1))
    assert not torch.equal(moved, get(x).T)
    assert torch.equal(moved, slow_block(get(x).T, 7, packed=False))
    assert torch.equal(moved, slow_block(get(x).T, 7, packed=True)), "either rule will do"
