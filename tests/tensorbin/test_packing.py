"""Packing against examples by hand, and against the CPU backend's rounding, which shares no code with it."""

import pytest
import torch

from tensorbin import DType, Layout, TensorbinError, pack, part_bytes, unpack
from tests.cpu_backend.test_rounding import hostile
from ttnn_cpu.enums import DataType
from ttnn_cpu.rounding import on_host

TILE, ROWS = Layout.TILE, Layout.ROW_MAJOR
FLOATS = [DType.FLOAT32, DType.BFLOAT16, DType.BFLOAT8_B, DType.BFLOAT4_B]
INTEGERS = [DType.UINT8, DType.UINT16, DType.UINT32, DType.INT32]


def random_bits(*shape: int) -> torch.Tensor:
    """Every pattern is as likely: inf, nan with any payload, denormals."""
    words = torch.randint(-(2**31), 2**31, shape, generator=torch.Generator().manual_seed(3), dtype=torch.int64)
    return words.to(torch.int32).view(torch.float32)


SOURCES = hostile() | {"random bits": random_bits(2, 64, 96), "random bits, odd": random_bits(2, 3, 35, 45)}


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.contiguous().view(torch.int32), other.contiguous().view(torch.int32))


def test_bfloat8_by_hand() -> None:
    """1 has exponent 127 and 64 steps of 1/64; -0.3 is 19.2 steps: sign 0x80 and 19. A row of zeros has exponent 0."""
    source = torch.zeros(32, 32)
    source[0, 0], source[0, 1] = 1.0, -0.3
    source[17, 16] = 2.0  # the second row of the fourth face
    data = pack(source, DType.BFLOAT8_B, TILE)
    assert data.numel() == 1088
    assert {i: data[i].item() for i in data.nonzero().flatten().tolist()} == {
        0: 127,
        3 * 16 + 1: 128,
        64: 64,
        64 + 1: 0x80 | 19,
        64 + 3 * 256 + 16: 64,
    }


def test_bfloat4_by_hand() -> None:
    """Steps of 1/4 beside a 1: 4, -1 (sign 8), then 1.9, which stays at 7. The first is in the low four bits."""
    source = torch.zeros(32, 32)
    source[0, :3] = torch.tensor([1.0, -0.3, 1.9])
    data = pack(source.bfloat16(), DType.BFLOAT4_B, TILE)
    assert data.numel() == 576
    assert {i: data[i].item() for i in data.nonzero().flatten().tolist()} == {0: 127, 64: 4 | (8 | 1) << 4, 65: 7}


def test_tiles_and_faces_by_hand() -> None:
    source = torch.arange(40 * 70, dtype=torch.int32).reshape(40, 70)
    data = pack(source, DType.INT32, TILE).view(torch.int32).reshape(2, 3, 2, 2, 16, 16)
    assert data[0, 0, 0, 0, 0, :3].tolist() == [0, 1, 2]
    assert data[0, 0, 0, 1, 2, 5] == source[2, 16 + 5]
    assert data[1, 2, 0, 0, 7, 5] == source[32 + 7, 64 + 5]
    assert data[1, 2, 0, 0, 7, 6] == 0, "padding"
    assert data.sum() == source.sum()


def test_rows_by_hand() -> None:
    words = [0x3F808000, 0x3F818000, 0x7F800001, -0x00000001, 0x00000001]  # ties to even, nan, a denormal
    source = torch.tensor(words, dtype=torch.int32).view(torch.float32)
    assert pack(source, DType.BFLOAT16, ROWS).view(torch.uint16).tolist() == [0x3F80, 0x3F82, 0x7FC0, 0x7FC0, 0]
    nan = torch.tensor([0x7F81, 0xFFFF - 2**16], dtype=torch.int16).view(torch.bfloat16)
    assert pack(nan, DType.BFLOAT16, ROWS).view(torch.uint16).tolist() == [0x7F81, 0xFFFF]
    assert pack(torch.tensor([-1, 258]), DType.UINT8, ROWS).tolist() == [255, 2]


@pytest.mark.parametrize("source_dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", FLOATS, ids=lambda d: d.name)
@pytest.mark.parametrize("name", SOURCES)
def test_there_and_back_is_the_cpu_backends_rounding(name: str, dtype: DType, source_dtype: torch.dtype) -> None:
    source = SOURCES[name].to(source_dtype)
    for values in (source, source.T if source.dim() == 2 else source.transpose(0, -1)):
        expected = values.float()
        if not (dtype is DType.BFLOAT16 and source_dtype is torch.bfloat16):
            expected = on_host(expected.contiguous(), DataType[dtype.name])
        for layout in (TILE, ROWS):
            if layout is ROWS and dtype in (DType.BFLOAT8_B, DType.BFLOAT4_B):
                continue
            data = pack(values, dtype, layout)
            assert (data.dtype, data.numel()) == (torch.uint8, part_bytes(values.shape, dtype, layout))
            assert same_bits(unpack(data, values.shape, dtype, layout), expected)


@pytest.mark.parametrize("dtype", [DType.BFLOAT8_B, DType.BFLOAT4_B], ids=lambda d: d.name)
def test_views_and_many_blocks_give_the_same_bytes(dtype: DType) -> None:
    """More tiles than a thread takes at once, both ways of storing them, slices, and the float32 path."""
    source = torch.randn(5 * 32, 130 * 32 + 7, generator=torch.Generator().manual_seed(1)).bfloat16()
    whole = pack(source, dtype, TILE)
    rounded = on_host(source.float(), DataType[dtype.name])
    assert same_bits(unpack(whole, source.shape, dtype, TILE), rounded)
    long = rounded.T.contiguous()
    assert torch.equal(unpack(pack(long, DType.FLOAT32, TILE), long.shape, DType.FLOAT32, TILE), long)
    assert torch.equal(whole, pack(source.T.contiguous().T, dtype, TILE))
    assert torch.equal(whole, pack(source.float(), dtype, TILE))
    wide = torch.zeros(source.shape[0], 2, source.shape[1] + 3, dtype=torch.bfloat16)
    wide[:, 1, 3:] = source
    assert torch.equal(whole, pack(wide[:, 1, 3:], dtype, TILE))
    tall = source.T.contiguous().T
    assert torch.equal(pack(tall[64:], dtype, TILE), whole[2 * 131 * len(whole) // (5 * 131) :])
    stacked = torch.stack((tall, -tall)).transpose(1, 2).contiguous().transpose(1, 2)
    assert torch.equal(pack(stacked, dtype, TILE), torch.cat((whole, pack(-source, dtype, TILE))))


@pytest.mark.parametrize("layout", [TILE, ROWS], ids=lambda layout: layout.name)
@pytest.mark.parametrize("dtype", INTEGERS, ids=lambda d: d.name)
@pytest.mark.parametrize("shape", [(), (40,), (3, 45), (2, 3, 33, 47)], ids=str)
def test_integers_there_and_back(shape: tuple[int, ...], dtype: DType, layout: Layout) -> None:
    bits = int(dtype.name[-2:].strip("T"))
    low = -(2**31) if dtype is DType.INT32 else 0
    values = torch.randint(low, low + 2**bits, shape, generator=torch.Generator().manual_seed(2))
    back = unpack(pack(values, dtype, layout), shape, dtype, layout)
    assert back.dtype is (torch.int64 if dtype is DType.UINT32 else torch.int32)
    assert torch.equal(back.to(torch.int64), values)


def test_any_byte_is_decoded() -> None:
    """Bytes that the packer never writes: a sign without magnitude is -0, an exponent that ends below 0 gives +0."""
    data = torch.zeros(1088, dtype=torch.uint8)
    data[0], data[64:67] = 3, torch.tensor([0x80, 0x01, 0x40])
    row = unpack(data, (32, 32), DType.BFLOAT8_B, TILE)[0, :3]
    assert row.view(torch.int32).tolist() == [-(2**31), 0, 3 << 23]


def test_refusals() -> None:
    with pytest.raises(TensorbinError, match="tiles only"):
        pack(torch.ones(4, 4), DType.BFLOAT8_B, ROWS)
    with pytest.raises(TypeError, match="takes float32 or bfloat16"):
        pack(torch.ones(4, 4, dtype=torch.float16), DType.BFLOAT16, ROWS)
    with pytest.raises(TypeError, match="takes integers"):
        pack(torch.ones(4, 4), DType.INT32, ROWS)
    with pytest.raises(TensorbinError, match="takes 64 bytes"):
        unpack(torch.zeros(63, dtype=torch.uint8), (4, 4), DType.FLOAT32, ROWS)
