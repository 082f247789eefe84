"""The header of a `.tensorbin` file of ttnn 0.81.1: what it says, as bytes and back.

    u64 size of the FlatBuffer with its padding | FlatBuffer | parts

The header is padded with zeros to a multiple of 64 bytes. Each part starts at a multiple of 64 bytes; nothing follows
the last. Tables, from looking at ttnn's files and at tt-metal's public sources (a field's number is its place):

    Tensor          spec, mesh shape, shards, topology
    spec            shape, layout
    layout          u8 dtype, u8 1 for row major or 2 for tiles, page config, memory config, alignment
    page config     tile (height, width), for tiles only
    memory config   empty: interleaved in DRAM, the only one that is supported here
    shard           u8 1, struct (u64 offset, u64 size), mesh coordinate; one for each chip, row by row
    topology        extents of the grid over which the tensor was split, placements, mesh coordinates
    placement       u8 0 for replicated or 1 for split, i32 dimension; replicated has dimension -1

Mesh shapes, coordinates and grid extents are tables of one vector of u32.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product
from math import prod

from tensorbin.flatbuffer import Builder, Reference, Scalar, Table
from tensorbin.formats import TILE_SIZE, DType, Layout, TensorbinError, part_bytes

ALIGNMENT = 64


@dataclass(frozen=True)
class Header:
    """A tensor over a mesh of chips.

    shape: of one chip's part, as the program sees it (without padding); no extent may be 0.
    mesh_shape: (rows, columns) of chips.
    placements: the dimension along which the tensor was split, None for replicated; one for all chips in a row, as
        `ShardTensorToMesh(dim)` (a negative dim stays negative), `ReplicateTensorToMesh` and `from_host_shards`, which
        is always 0, leave it; or one for the rows and one for the columns of the mesh, as `create_mesh_mapper` does.

    The default is what ttnn writes of a tensor that no mapper made: one part, which loads on any mesh.
    Raises TensorbinError for what the format does not hold.
    """

    shape: tuple[int, ...]
    dtype: DType
    layout: Layout
    mesh_shape: tuple[int, int] = (1, 1)
    placements: tuple[int | None, ...] = (None,)

    def __post_init__(self) -> None:
        if not all(0 < extent < 2**32 for extent in (*self.shape, *self.mesh_shape)) or len(self.mesh_shape) != 2:
            raise TensorbinError(f"shape {self.shape} on a mesh of {self.mesh_shape} is out of range")
        if len(self.placements) not in (1, 2):
            raise TensorbinError(f"one placement for all chips or one for each mesh axis, got {self.placements}")
        if self.n_chips * self.part_bytes >= 2**63:
            raise TensorbinError(f"shape {self.shape} is too large")

    @property
    def n_chips(self) -> int:
        return prod(self.mesh_shape)

    @property
    def part_bytes(self) -> int:
        """Bytes of one part. TensorbinError for block floats that are not in tiles."""
        return part_bytes(self.shape, self.dtype, self.layout)

    @property
    def grid(self) -> tuple[int, ...]:
        """Chips along each placement."""
        return self.mesh_shape if len(self.placements) == 2 else (self.n_chips,)

    @property
    def n_parts(self) -> int:
        """How many parts the file holds: chips that a placement replicates share one."""
        return prod(extent for extent, dim in zip(self.grid, self.placements, strict=True) if dim is not None)

    def part_of_chip(self, chip: int) -> int:
        """Which part belongs to a chip; chips count row by row."""
        part = 0
        chips = self.n_chips
        for extent, dim in zip(self.grid, self.placements, strict=True):
            chips //= extent
            place, chip = divmod(chip, chips)
            if dim is not None:
                part = part * extent + place
        return part

    def chip_of_part(self, part: int) -> int:
        """The first chip to which a part belongs."""
        return next(chip for chip in range(self.n_chips) if self.part_of_chip(chip) == part)

    @property
    def part_stride(self) -> int:
        """Bytes from the start of a part to the start of the next."""
        return -(-self.part_bytes // ALIGNMENT) * ALIGNMENT

    @property
    def data_bytes(self) -> int:
        """Bytes of all parts, with the padding between them."""
        return (self.n_parts - 1) * self.part_stride + self.part_bytes


def encode(header: Header) -> bytes:
    """The first bytes of a file, up to the first part; the same bytes as ttnn's `dump_tensor`."""
    build = Builder()
    spec = _spec(build, header)
    coordinates = list(product(*map(range, header.mesh_shape)))
    shards = []
    for chip, coordinate in enumerate(coordinates):
        place = Reference(_wrapped(build, coordinate))
        storage = Reference(build.record(header.part_of_chip(chip) * header.part_stride, header.part_bytes))
        shards.append(build.table(Scalar("B", 1), storage, place))
    shard_list = build.references(shards)
    mesh_shape = _wrapped(build, header.mesh_shape)
    grid = _wrapped(build, header.grid)
    placements = build.references([_placement(build, dim) for dim in header.placements])
    places = build.references([_wrapped(build, coordinate) for coordinate in coordinates])
    topology = build.table(Reference(grid), Reference(placements), Reference(places))
    tables = build.finish(
        build.table(Reference(spec), Reference(mesh_shape), Reference(shard_list), Reference(topology))
    )
    padded = tables + bytes(-(8 + len(tables)) % ALIGNMENT)
    return struct.pack("<Q", len(padded)) + padded


def decode(data: bytes) -> Header:
    """The header that `encode` gives as `data`. TensorbinError for anything else, which includes what ttnn writes of
    memory configs other than DRAM interleaved."""
    try:
        root = Table.root(data[8:])
        spec, mesh_shape = root.table(0), root.table(1).numbers(0)
        if len(root.tables(2)) != prod(mesh_shape):
            raise TensorbinError("the mesh and the number of shards differ")
        layout = spec.table(1)
        placements = root.table(3).tables(1)
        header = Header(
            shape=tuple(spec.numbers(0)),
            dtype=DType(layout.scalar(0, "B")),
            layout=Layout(layout.scalar(1, "B") - 1),
            mesh_shape=(mesh_shape[0], mesh_shape[-1]),
            placements=tuple(table.scalar(1, "i") if table.scalar(0, "B") else None for table in placements),
        )
    except (struct.error, ValueError, IndexError) as error:
        raise TensorbinError(f"the header is damaged: {error}") from error
    if encode(header) != data:
        raise TensorbinError(f"the header is not what ttnn writes for the tensor that it tells of, {header}")
    return header


def _spec(build: Builder, header: Header) -> int:
    shape = Reference(build.numbers(header.shape))
    alignment = Reference(build.numbers([TILE_SIZE] * 2 if header.layout is Layout.TILE else [1]))
    page = Reference(_page_config(build, header.layout))
    memory_config = Reference(build.table())
    layout = build.table(
        Scalar("B", header.dtype.value), Scalar("B", 1 + header.layout.value), page, memory_config, alignment
    )
    return build.table(shape, Reference(layout))


def _page_config(build: Builder, layout: Layout) -> int:
    if layout is Layout.ROW_MAJOR:
        return build.table()
    return build.table(Reference(build.table(Scalar("I", TILE_SIZE), Scalar("I", TILE_SIZE))))


def _placement(build: Builder, dim: int | None) -> int:
    return build.table(Scalar("B", 0 if dim is None else 1), Scalar("i", -1 if dim is None else dim))


def _wrapped(build: Builder, numbers: tuple[int, ...]) -> int:
    return build.table(Reference(build.numbers(numbers)))
