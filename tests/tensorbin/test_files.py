"""Headers against bytes of the real library, and files that are damaged in every way."""

import contextlib
import hashlib
import random
from pathlib import Path

import pytest
import torch

from tensorbin import (
    DType,
    Header,
    Layout,
    TensorbinError,
    decode,
    encode,
    pack,
    read_header,
    read_parts,
    unpack,
    write,
)

TILE, ROWS = Layout.TILE, Layout.ROW_MAJOR

# the header that ttnn.dump_tensor of ttnn 0.81.1 writes for a bfloat8_b tensor of [5, 40] without a mapper
REAL = bytes.fromhex(
    "780100000000000014000000000000000c001600040008000c0010000c000000d40000006c0000007c00000010000000"
    "00000a001000040008000c000a000000400000002400000004000000010000000400000026ffffff0400000002000000"
    "0000000000000000010000000c000000080008000000040008000000ffffffff52ffffff040000000100000001000000"
    "62ffffff04000000020000000100000001000000010000001000000000000a001000070008000c000a00000000000001"
    "080000001400000000000000000000008008000000000000aaffffff0400000002000000000000000000000008000e00"
    "0400080008000000640000001400000000000e0014000600070008000c0010000e000000000003021c0000000c000000"
    "3000000004000600040000000000060008000400060000000c00000008000c0004000800080000002000000020000000"
    "020000002000000020000000020000000500000028000000000000000000000000000000000000000000000000000000"
)
SMALL = Header((5, 40), DType.BFLOAT8_B, TILE)
# the first 16 digits of the sha256 of other headers of the real library, and how their tensors were made
DIGESTS = {
    Header((), DType.FLOAT32, ROWS): "2062c8bb1ee07ce0",
    Header((40,), DType.UINT32, ROWS): "828ba0191a0bf314",
    Header((2, 3, 33, 47), DType.BFLOAT8_B, TILE): "4e4f6ad3fc494b71",
    Header((2, 2, 2, 3, 5), DType.INT32, TILE): "a7222b01d087c310",
    # from_host_shards
    Header((1, 1, 64, 32), DType.BFLOAT16, TILE, (1, 1), (0,)): "fce2210e4077d9d1",
    Header((1, 1, 33, 47), DType.BFLOAT4_B, TILE, (1, 8), (0,)): "1046b1e19cd7d42c",
    Header((1, 1, 33, 47), DType.BFLOAT16, ROWS, (1, 8), (0,)): "9cf7e91585ffd5d1",
    Header((1, 1, 64, 32), DType.BFLOAT16, TILE, (2, 4), (0,)): "d834d945e2bcfd0b",
    # ShardTensorToMesh
    Header((8, 8, 256, 32), DType.BFLOAT16, TILE, (1, 8), (3,)): "e3c71a97f38d028b",
    Header((8, 8, 256, 32), DType.BFLOAT16, TILE, (1, 8), (-1,)): "1c6400646d3f3b62",
    Header((8, 8, 64, 256), DType.BFLOAT16, TILE, (1, 4), (2,)): "9a5c06fc29a6b613",
    # ReplicateTensorToMesh
    Header((8, 8, 256, 256), DType.BFLOAT16, TILE, (1, 8), (None,)): "bff66ecdcaa81cd3",
    # create_mesh_mapper
    Header((8, 1, 256, 256), DType.BFLOAT16, TILE, (1, 8), (None, 1)): "e358877d86ef73cf",
    Header((4, 8, 256, 256), DType.BFLOAT16, TILE, (2, 4), (0, None)): "71662ef06998f64f",
    Header((8, 8, 256, 64), DType.BFLOAT16, TILE, (2, 4), (None, 3)): "e890937bad925565",
    Header((4, 8, 256, 64), DType.BFLOAT16, TILE, (2, 4), (0, 3)): "72890f4d1925c180",
}


def data_of(header: Header) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    sources = [torch.randn(header.shape, generator=generator) for _ in range(header.n_parts)]
    return [pack(source, header.dtype, header.layout) for source in sources]


@pytest.fixture
def small(tmp_path: Path) -> Path:
    write(tmp_path / "small.tensorbin", SMALL, data_of(SMALL))
    return tmp_path / "small.tensorbin"


def test_the_header_is_the_real_librarys() -> None:
    assert encode(SMALL) == REAL
    assert decode(REAL) == SMALL


@pytest.mark.parametrize("header", DIGESTS, ids=lambda h: f"{h.dtype.name}-{h.shape}-{h.mesh_shape}-{h.placements}")
def test_other_headers_are_the_real_librarys(header: Header) -> None:
    data = encode(header)
    assert hashlib.sha256(data).hexdigest()[:16] == DIGESTS[header]
    assert decode(data) == header


def test_which_part_a_chip_has() -> None:
    for placements, parts in {
        (None,): [0] * 8,
        (0,): list(range(8)),
        (0, 1): list(range(8)),
        (0, None): [0, 0, 0, 0, 1, 1, 1, 1],
        (None, 0): [0, 1, 2, 3, 0, 1, 2, 3],
    }.items():
        header = Header((32, 32), DType.BFLOAT16, TILE, (2, 4), placements)
        assert [header.part_of_chip(chip) for chip in range(8)] == parts
        assert header.n_parts == max(parts) + 1
        assert [header.chip_of_part(k) for k in range(header.n_parts)] == [
            parts.index(k) for k in range(max(parts) + 1)
        ]


def test_parts_start_at_multiples_of_64(tmp_path: Path) -> None:
    header = Header((3, 5), DType.FLOAT32, ROWS, (1, 4), (0,))
    parts = data_of(header)
    write(tmp_path / "x.tensorbin", header, parts)
    assert (tmp_path / "x.tensorbin").stat().st_size == len(encode(header)) + 3 * 64 + 60
    assert len(encode(header)) % 64 == 0
    assert read_header(tmp_path / "x.tensorbin") == header
    for k, data in enumerate(parts):
        assert torch.equal(read_parts(tmp_path / "x.tensorbin", header)[k], data)


def test_a_part_outlives_the_replaced_file(small: Path) -> None:
    data = read_parts(small, SMALL)[0]
    write(small, SMALL, [torch.zeros(SMALL.part_bytes, dtype=torch.uint8)])
    assert torch.equal(data, data_of(SMALL)[0])
    data += 1  # a copy of one's own
    assert not read_parts(small, SMALL)[0].any()


def test_wrong_parts_are_refused_and_leave_no_file(tmp_path: Path) -> None:
    data = data_of(SMALL)[0]
    for parts in ([], [data, data], [data[:-1]], [data.view(torch.int8)]):
        with pytest.raises(TensorbinError, match=r"x\.tensorbin"):
            write(tmp_path / "x.tensorbin", SMALL, parts)
    assert not list(tmp_path.iterdir())


def test_tensors_that_the_format_does_not_hold() -> None:
    for arguments in (
        ((0, 4), DType.BFLOAT16, TILE),
        ((-1,), DType.BFLOAT16, TILE),
        ((2**32,), DType.BFLOAT16, TILE),
        ((2**31, 2**31, 2), DType.BFLOAT16, TILE),
        ((4, 4), DType.BFLOAT8_B, ROWS),
        ((4, 4), DType.BFLOAT16, TILE, (0, 8)),
        ((4, 4), DType.BFLOAT16, TILE, (8,)),
        ((4, 4), DType.BFLOAT16, TILE, (1, 8), ()),
        ((4, 4), DType.BFLOAT16, TILE, (1, 8), (0, 1, 2)),
    ):
        with pytest.raises(TensorbinError):
            Header(*arguments)


def test_every_flipped_bit_of_a_header_is_refused_or_tells_of_another_tensor(small: Path) -> None:
    content = bytearray(small.read_bytes())
    accepted = 0
    for bit in range(8 * len(REAL)):
        content[bit // 8] ^= 1 << bit % 8
        small.write_bytes(content)
        with contextlib.suppress(TensorbinError):
            header = read_header(small)
            accepted += 1
            assert encode(header) == content[: len(REAL)]
            assert header.data_bytes == SMALL.data_bytes
            unpack(read_parts(small, header)[0], header.shape, header.dtype, header.layout)
        content[bit // 8] ^= 1 << bit % 8
    assert 0 < accepted < 20, "extents within the same tiles"


def test_flipped_bytes_of_a_larger_header() -> None:
    good = encode(Header((2, 33, 47), DType.BFLOAT16, ROWS, (1, 8), (-2,)))
    random_numbers = random.Random(0)
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(random_numbers.choice((1, 1, 2, 10))):
            data[random_numbers.randrange(8, len(data))] = random_numbers.randrange(256)
        try:
            header = decode(bytes(data))
        except TensorbinError:
            continue
        assert encode(header) == data


def test_files_of_another_length(small: Path) -> None:
    content = small.read_bytes()
    for length in [*range(0, len(REAL) + 70, 7), len(content) - 64, len(content) - 1]:
        small.write_bytes(content[:length])
        with pytest.raises(TensorbinError, match=r"small\.tensorbin"):
            read_header(small)
    small.write_bytes(content + b"\0")
    with pytest.raises(TensorbinError, match=rf"{len(content) + 1} bytes; its header tells of {len(content)}"):
        read_header(small)
    small.write_bytes(b"\xff" * len(content))
    with pytest.raises(TensorbinError, match="none of this format"):
        read_header(small)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_header(tmp_path / "x.tensorbin")
