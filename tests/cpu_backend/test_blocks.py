"""Values kept as blocks are the values: every operation that knows of blocks, beside the same on all values."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import get, open_mesh, put
from ttnn_cpu.blocks import Blocks

IN_USE = torch.tensor([[True, False, True, False], [False, False, False, False], [True, True, True, True]])


def some_blocks(width: int = 5, rows: int = 3) -> Blocks:
    kept = torch.randn(int(IN_USE.sum()), rows, width, generator=torch.Generator().manual_seed(0))
    return Blocks(kept, IN_USE)


def test_blocks_not_in_use_are_zero() -> None:
    blocks = some_blocks()
    values = blocks()
    assert values.shape == (3, 4, 1, 3, 5)
    assert torch.equal(values[IN_USE][:, 0], blocks.kept)
    assert not values[~IN_USE].any()
    for device in range(3):
        assert torch.equal(blocks.of_device(device), values[device, IN_USE[device], 0])


@pytest.mark.parametrize("n_rows", [1, 7, 24])
def test_rows_by_their_numbers(n_rows: int) -> None:
    blocks = some_blocks()
    numbers = torch.randint(0, 12, (3, n_rows), generator=torch.Generator().manual_seed(n_rows))
    everything = blocks().reshape(3, 12, 5)
    expected = torch.stack([rows[wanted] for rows, wanted in zip(everything, numbers, strict=True)])
    assert torch.equal(blocks.rows(numbers), expected)


def test_rows_where_no_block_is_in_use() -> None:
    blocks = Blocks(torch.empty(0, 3, 5), torch.zeros(3, 4, dtype=torch.bool))
    assert torch.equal(blocks.rows(torch.zeros(3, 2, dtype=torch.int64)), torch.zeros(3, 2, 5))
    assert not blocks().any()


def device_tensor(mesh: ttnn.MeshDevice, blocks: Blocks, as_blocks: bool, dtype: ttnn.DataType) -> ttnn.Tensor:
    tensor = put(mesh, torch.zeros(4, 1, 32, 64), dtype)
    rounded = blocks.mapped(lambda kept: get(put(mesh, kept, dtype)).float())
    tensor.storage.values = rounded if as_blocks else rounded()[:1]
    return tensor


def small() -> Blocks:
    kept = torch.randn(2, 32, 64, generator=torch.Generator().manual_seed(1))
    return Blocks(kept, IN_USE[:1])


@pytest.mark.parametrize("dtype", [ttnn.bfloat16, ttnn.bfloat8_b], ids=lambda d: d.name)
def test_a_product_of_blocks(dtype: ttnn.DataType) -> None:
    mesh, results = open_mesh(), []
    for one, other in ((True, True), (True, False), (False, False)):
        up = device_tensor(mesh, small(), one, dtype)
        gate = device_tensor(mesh, small().mapped(torch.sin), other, ttnn.bfloat16)
        ttnn.multiply_(up, gate, input_tensor_b_activations=[ttnn.UnaryOpType.SILU])
        assert isinstance(up.storage.unmade, Blocks) == (one and other)
        results.append(get(up))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])
    assert results[0].any()


def test_a_product_of_other_blocks_is_that_of_their_values() -> None:
    mesh = open_mesh()
    one = device_tensor(mesh, small(), True, ttnn.bfloat16)
    other = device_tensor(mesh, Blocks(small().kept, ~IN_USE[:1]), True, ttnn.bfloat16)
    assert not get(ttnn.multiply(one, other)).any()
    assert torch.equal(get(ttnn.add(one, other)), get(one) + get(other))


@pytest.mark.parametrize("dtype", [ttnn.bfloat16, ttnn.bfloat8_b], ids=lambda d: d.name)
def test_rows_and_layouts_of_blocks(dtype: ttnn.DataType) -> None:
    ids = torch.randint(0, 128, (1, 40), generator=torch.Generator().manual_seed(2))
    mesh, found = open_mesh(), []
    for as_blocks in (True, False):
        table = ttnn.to_layout(device_tensor(mesh, small(), as_blocks, ttnn.bfloat16), ttnn.ROW_MAJOR_LAYOUT)
        rows = put(mesh, ids, ttnn.uint32, ttnn.ROW_MAJOR_LAYOUT)
        table = ttnn.reshape(table, (128, 64))
        assert isinstance(table.storage.unmade, Blocks) == as_blocks
        found.append(get(ttnn.embedding(rows, table, layout=ttnn.TILE_LAYOUT, dtype=dtype)))
    assert torch.equal(found[0], found[1])
    assert found[0].any()
