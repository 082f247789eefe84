"""New shapes, parts and places for the same values."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded, spec

DRAM, L1 = ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG


@pytest.fixture
def mesh() -> ttnn.MeshDevice:
    return open_mesh(2)


def test_a_slice_whose_corner_is_data() -> None:
    mesh = open_mesh(2)
    x = torch.randn(1, 3, 128, 64).bfloat16()
    tensor = put(mesh, x, ttnn.bfloat16)

    def rows(first: int, last: int) -> ttnn.Tensor:
        corners = (counters(mesh, [0, 0, first, 0], ttnn.uint32), counters(mesh, [1, 3, last, 64], ttnn.uint32))
        return ttnn.slice(tensor, *corners, slice_dim=2, num_devices=4)

    assert torch.equal(get(rows(64, 96)), x[:, :, 64:96])
    with pytest.raises(RuntimeError, match="do not give the shape"):
        rows(0, 64)
    with pytest.raises(RuntimeError, match="is beyond"):
        rows(112, 144)


@pytest.mark.parametrize("layout", [TILE, ROWS], ids=["tile", "row major"])
def test_data_movement(mesh: ttnn.MeshDevice, layout: ttnn.Layout) -> None:
    x = torch.randn(2, 3, 35, 40)
    tensor = put(mesh, x, layout=layout)
    assert torch.equal(get(ttnn.reshape(tensor, [2, -1, 40])), x.reshape(2, 105, 40))
    assert torch.equal(get(ttnn.reshape(tensor, [6, 40, 35])), x.reshape(6, 40, 35))
    assert torch.equal(get(ttnn.transpose(tensor, 1, 2)), x.transpose(1, 2))
    assert torch.equal(get(ttnn.permute(tensor, (0, 3, 2, 1))), x.permute(0, 3, 2, 1))
    assert torch.equal(get(ttnn.slice(tensor, [0, 1, 3, 5], [2, 3, -2, 40])), x[:, 1:, 3:33, 5:])
    assert torch.equal(get(ttnn.concat([tensor, tensor], dim=-1)), torch.cat([x, x], -1))
    padded = ttnn.pad(tensor, [(0, 0), (0, 0), (0, 4), (0, 5)], value=float("-inf"))
    assert torch.equal(get(padded), torch.nn.functional.pad(x, (0, 5, 0, 4), value=float("-inf")))
    assert torch.equal(get(ttnn.clone(tensor, dtype=ttnn.bfloat16)), x.bfloat16())
    assert torch.equal(get(ttnn.silu(tensor)), torch.nn.functional.silu(x))


def test_rows_of_the_padding(mesh: ttnn.MeshDevice) -> None:
    x = torch.randn(1, 1, 32, 64)
    few = ttnn.reshape(put(mesh, x), (1, 1, 5, 64), (1, 1, 32, 64))
    assert spec(few) == ([1, 1, 5, 64], [1, 1, 32, 64], "FLOAT32", "TILE")
    assert torch.equal(get(few), x[:, :, :5])
    again = ttnn.reshape(few, (1, 1, 32, 64), (1, 1, 32, 64))
    assert torch.equal(get(again)[:, :, :5], x[:, :, :5])


def test_layouts_and_places(mesh: ttnn.MeshDevice) -> None:
    x = torch.randn(1, 1, 32, 256)
    eight = put(mesh, x, ttnn.bfloat8_b)
    assert spec(ttnn.to_layout(eight, ROWS))[2:] == ("BFLOAT16", "ROW_MAJOR")
    assert spec(ttnn.untilize(eight))[2:] == ("BFLOAT16", "ROW_MAJOR")
    rows = put(mesh, x, ttnn.bfloat16, ROWS)
    assert spec(ttnn.tilize(rows, dtype=ttnn.bfloat8_b))[2:] == ("BFLOAT8_B", "TILE")
    assert torch.equal(get(ttnn.to_layout(rows, TILE)), x.bfloat16())
    shard = sharded("WIDTH", 8, 32, 32)
    on_cores = ttnn.interleaved_to_sharded(put(mesh, x), shard)
    assert on_cores.memory_config() == shard
    assert ttnn.to_memory_config(on_cores, sharded("WIDTH", 4, 32, 64)).memory_config() == sharded("WIDTH", 4, 32, 64)
    back = ttnn.sharded_to_interleaved(on_cores)
    assert back.memory_config() == DRAM
    assert torch.equal(get(back), x)


def test_create_sharded_memory_config() -> None:
    config = ttnn.create_sharded_memory_config((1, 1, 32, 4096), ttnn.CoreGrid(x=8, y=4), ttnn.ShardStrategy.WIDTH)
    assert config.shard_spec is not None
    assert (config.memory_layout.name, config.shard_spec.shape) == ("WIDTH_SHARDED", (32, 128))
    whole = ttnn.create_sharded_memory_config(
        (32, 128), config.shard_spec.grid, ttnn.ShardStrategy.HEIGHT, use_height_and_width_as_shard_shape=True
    )
    assert whole.shard_spec is not None
    assert whole.shard_spec.shape == (32, 128)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "{[0-0 - 0-0]}"),
        (12, "{[0-0 - 7-0], [0-1 - 3-1]}"),
        (25, "{[0-0 - 7-2], [0-3 - 0-3]}"),
        (64, "{[0-0 - 7-7]}"),
    ],
)
def test_num_cores_to_corerangeset(count: int, text: str) -> None:
    assert repr(ttnn.num_cores_to_corerangeset(count, ttnn.CoreCoord(8, 8), True)) == text
