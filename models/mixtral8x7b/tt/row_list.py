"""Which rows of a prefill pass go to a chip's expert, listed on the chip, whatever the routing: no row is ever lost.

    weights of 8 rows      0   .4  0   0   .6  .5  0   0
    counted so far         0   1   1   1   2   3   3   3     by products with 0s and 1s, exact in float32
    order                  1   4   5   0   0   0   0   0     the expert's rows, in front
    place                  0   0   0   0   1   2   0   0     where each row of the pass stands in that order
    blocks of 4 in use     1   0                             the others are not computed

Shapes: T rows of a pass, in R lines of LINE for the counting; M rows of a block.
"""

from dataclasses import dataclass

import torch
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh

LINE = 128  # so that a count within a line, and the number of lines, are whole numbers in bf16
BLOCK_ROWS = (256, 512)  # of a small and a large block: for each one the expert's weights are read once
LARGE_PASS = 8192  # rows from which on the large blocks serve


@dataclass(frozen=True)
class RowList:
    """Of one expert, on each chip its own."""

    order: ttnn.Tensor  # uint32 [1, T] row-major
    place: ttnn.Tensor  # uint32 [1, T] row-major
    in_use: ttnn.Tensor  # bf16 [1, 1, T/M, 1] row-major: 0 for a block without a row of the expert

    def blocks_of(self, table_TD: ttnn.Tensor, dtype: ttnn.DataType) -> ttnn.Tensor:
        """Row-major bf16 [T, D] -> the expert's rows in front, [T/M, 1, M, D] in tiles."""
        size, dim = table_TD.shape[0], table_TD.shape[1]
        rows = block_rows(size)
        gathered = ttnn.embedding(self.order, table_TD, layout=ttnn.TILE_LAYOUT, dtype=dtype)
        return ttnn.reshape(gathered, (size // rows, 1, rows, dim))

    def put_back(self, blocks: ttnn.Tensor) -> ttnn.Tensor:
        """Results [T/M, 1, M, D] bf16 -> [1, 1, T, D], each at its row; what is no row of the expert's gets any. Frees
        blocks."""
        size, dim = blocks.shape[0] * blocks.shape[2], blocks.shape[3]
        listed = _flat(blocks, (size, dim))
        in_place = ttnn.embedding(self.place, listed, layout=ttnn.TILE_LAYOUT)
        ttnn.deallocate(listed)
        return ttnn.reshape(in_place, (1, 1, size, dim))

    def deallocate(self) -> None:
        for tensor in (self.order, self.place, self.in_use):
            ttnn.deallocate(tensor)


def block_rows(size: int) -> int:
    """M, for a pass of this size."""
    return BLOCK_ROWS[size >= LARGE_PASS]


class RowLister:
    """What counting takes, for passes of one size."""

    def __init__(self, size: int, mesh: Mesh, kernel: ttnn.WormholeComputeKernelConfig) -> None:
        self._size, self._kernel = size, kernel
        lines = size // LINE

        def matrix(values: torch.Tensor) -> ttnn.Tensor:
            return mesh.put(values[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT)

        self._to_here = matrix(torch.ones(LINE, LINE).triu())
        self._all = matrix(torch.ones(LINE, LINE))
        self._lines_before = matrix(torch.ones(lines, lines).tril(-1))
        self._numbers = mesh.put(torch.arange(size, dtype=torch.int32)[None], ttnn.uint32)
        self._no_numbers = mesh.put(torch.zeros(1, size, dtype=torch.int32), ttnn.uint32)
        self._no_weights = mesh.put(torch.zeros(1, size), ttnn.bfloat16)

    def deallocate(self) -> None:
        for tensor in (
            self._to_here,
            self._all,
            self._lines_before,
            self._numbers,
            self._no_numbers,
            self._no_weights,
        ):
            ttnn.deallocate(tensor)

    def list_rows(self, weights_T1: ttnn.Tensor) -> RowList:
        """Of the rows whose weight, bf16 [1, 1, T, 1], is not 0."""
        weights = _flat(ttnn.transpose(weights_T1, 2, 3), (1, self._size))
        is_own_RL = self._is_own(weights)
        index_RL = self._index(is_own_RL)
        own_RL = ttnn.typecast(is_own_RL, ttnn.float32)
        ttnn.deallocate(is_own_RL)
        target = self._numbered(ttnn.where(own_RL, index_RL, float(self._size)))  # beyond the end: left out
        place = self._numbered(ttnn.multiply(index_RL, own_RL))
        ttnn.deallocate(own_RL)
        ttnn.deallocate(index_RL)
        order = ttnn.scatter(self._no_numbers, 1, target, self._numbers)
        in_front = ttnn.scatter(self._no_weights, 1, target, weights)
        ttnn.deallocate(target)
        ttnn.deallocate(weights)
        rows = block_rows(self._size)
        blocks = self._size // rows
        of_blocks = ttnn.reshape(in_front, (1, 1, blocks, rows))
        in_use = ttnn.slice(of_blocks, [0, 0, 0, 0], [1, 1, blocks, 1])
        for tensor in (in_front, of_blocks):  # a copy; a view of it where there is one block
            ttnn.deallocate(tensor)
        return RowList(order, place, in_use)

    def _is_own(self, weights: ttnn.Tensor) -> ttnn.Tensor:
        """1 for a row of the expert, [1, 1, R, LINE] bf16."""
        cut = ttnn.reshape(weights, (1, 1, self._size // LINE, LINE))  # a copy: the rows are of another length
        lines = ttnn.to_layout(cut, ttnn.TILE_LAYOUT)
        ttnn.deallocate(cut)
        is_own_RL = ttnn.ne(lines, 0.0)
        ttnn.deallocate(lines)
        return is_own_RL

    def _index(self, is_own_RL: ttnn.Tensor) -> ttnn.Tensor:
        """How many rows of the expert stand before each of them, float32 [1, 1, R, LINE]; -1 before the first."""
        within = self._product(is_own_RL, self._to_here, ttnn.float32)
        columns = self._product(self._lines_before, is_own_RL, ttnn.bfloat16)
        before = self._product(columns, self._all, ttnn.float32)
        ttnn.deallocate(columns)
        count = ttnn.add(within, before)
        ttnn.deallocate(within)
        ttnn.deallocate(before)
        index = ttnn.subtract(count, 1.0)
        ttnn.deallocate(count)
        return index

    def _product(self, a: ttnn.Tensor, b: ttnn.Tensor, dtype: ttnn.DataType) -> ttnn.Tensor:
        return ttnn.matmul(a, b, dtype=dtype, memory_config=ttnn.DRAM_MEMORY_CONFIG, compute_kernel_config=self._kernel)

    def _numbered(self, values_RL: ttnn.Tensor) -> ttnn.Tensor:
        """Whole numbers as uint32 [1, T], row-major. Frees values."""
        numbers = ttnn.typecast(values_RL, ttnn.uint32)
        ttnn.deallocate(values_RL)
        rows = _row_major(numbers)
        joined = ttnn.reshape(rows, (1, self._size))  # a copy: the rows are of another length
        ttnn.deallocate(rows)
        return joined


def _flat(tiled: ttnn.Tensor, shape: tuple[int, ...]) -> ttnn.Tensor:
    """Row-major, under another shape with rows of the same length: a view of the rows. Frees tiled."""
    return ttnn.reshape(_row_major(tiled), shape)


def _row_major(tiled: ttnn.Tensor) -> ttnn.Tensor:
    """Frees tiled."""
    rows = ttnn.to_layout(tiled, ttnn.ROW_MAJOR_LAYOUT)
    ttnn.deallocate(tiled)
    return rows
