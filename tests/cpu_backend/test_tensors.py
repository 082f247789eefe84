"""Host tensors, mesh tensors, mappers and composers, life and death."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, counters, get, open_mesh, put, sharded, spec


def test_host_round_trip_without_a_device() -> None:
    x = torch.randn(1, 1, 5, 7)
    tensor = ttnn.from_torch(x, dtype=ttnn.bfloat16, layout=TILE)
    assert spec(tensor) == ([1, 1, 5, 7], [1, 1, 32, 32], "BFLOAT16", "TILE")
    assert tensor.storage_type() is ttnn.StorageType.HOST
    assert tensor.device() is None
    assert torch.equal(ttnn.to_torch(tensor), x.bfloat16())


@pytest.mark.parametrize(
    ("source", "dtype", "layout", "back"),
    [
        (torch.float32, "FLOAT32", "ROW_MAJOR", torch.float32),
        (torch.bfloat16, "BFLOAT16", "ROW_MAJOR", torch.bfloat16),
        (torch.int32, "INT32", "ROW_MAJOR", torch.int32),
        (torch.int64, "UINT32", "ROW_MAJOR", torch.uint32),
    ],
)
def test_default_dtypes(source: torch.dtype, dtype: str, layout: str, back: torch.dtype) -> None:
    tensor = ttnn.from_torch(torch.ones(4, 4).to(source))
    assert (tensor.dtype.name, tensor.layout.name, ttnn.to_torch(tensor).dtype) == (dtype, layout, back)


def test_block_floats_are_tiles_and_come_back_as_float32() -> None:
    tensor = ttnn.from_torch(torch.ones(4, 4), dtype=ttnn.bfloat8_b)
    assert tensor.layout is TILE
    assert ttnn.to_torch(tensor).dtype is torch.float32
    with pytest.raises(RuntimeError, match="TILE"):
        ttnn.from_torch(torch.ones(4, 4), dtype=ttnn.bfloat8_b, layout=ROWS)


def test_unsigned_integers_wrap_and_floats_truncate() -> None:
    assert ttnn.to_torch(ttnn.from_torch(torch.tensor([-1, 5]), dtype=ttnn.uint32)).tolist() == [2**32 - 1, 5]
    assert ttnn.to_torch(ttnn.from_torch(torch.tensor([1.7, -2.5]), dtype=ttnn.int32)).tolist() == [1, -2]


def test_one_dimensional_tiles_have_a_two_dimensional_padding() -> None:
    assert spec(ttnn.from_torch(torch.ones(40), layout=TILE))[1] == [32, 64]


def test_the_source_is_copied_and_so_is_the_result() -> None:
    x = torch.zeros(4, 4)
    tensor = ttnn.from_torch(x)
    x += 1
    result = ttnn.to_torch(tensor)
    result += 2
    assert ttnn.to_torch(tensor).sum() == 0


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_shard_and_concatenate(devices: int) -> None:
    mesh = open_mesh(devices)
    x = torch.arange(8 * 4.0).reshape(8, 4)
    tensor = put(mesh, x, layout=ROWS, shard=0)
    assert tensor.shape == [8 // devices, 4]
    assert [get(tensor, i)[0, 0].item() for i in range(devices)] == [x.chunk(devices)[i][0, 0] for i in range(devices)]
    assert torch.equal(ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(mesh, dim=0)), x)


def test_replicas_come_back_once_per_device() -> None:
    mesh = open_mesh(4)
    tensor = put(mesh, torch.ones(2, 3))
    assert ttnn.to_torch(tensor, mesh_composer=ttnn.ConcatMeshToTensor(mesh, dim=0)).shape == (8, 3)


def test_a_mesh_tensor_needs_a_composer() -> None:
    with pytest.raises(RuntimeError, match="mesh composer"):
        ttnn.to_torch(put(open_mesh(2), torch.ones(2, 2)))


def test_uneven_shards_are_refused() -> None:
    mesh = open_mesh(8)
    for rows in (4, 12, 9):
        with pytest.raises(RuntimeError, match="does not divide"):
            ttnn.from_torch(torch.ones(rows, 4), mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=0))


def test_two_dimensional_mappers() -> None:
    mesh = open_mesh(4)
    x = torch.randn(2, 8)
    config = ttnn.MeshMapperConfig([ttnn.PlacementReplicate(), ttnn.PlacementShard(1)])
    for mapper in (
        ttnn.create_mesh_mapper(mesh, config),
        ttnn.ShardTensor2dMesh(mesh, mesh_shape=(1, 4), dims=(None, 1)),
        ttnn.shard_tensor_to_mesh_mapper(mesh, 1),
    ):
        tensor = ttnn.from_torch(x, mesh_mapper=mapper)
        assert [ttnn.to_torch(t).tolist() for t in ttnn.get_device_tensors(tensor)] == [
            p.tolist() for p in x.chunk(4, 1)
        ]
    with pytest.raises(RuntimeError, match="unique"):
        ttnn.ShardTensor2dMesh(mesh, mesh_shape=(1, 4), dims=(1, 1))


def test_from_host_shards() -> None:
    mesh = open_mesh(2)
    parts = [torch.randn(3, 4), torch.randn(3, 4)]
    tensor = ttnn.from_host_shards([ttnn.from_torch(part) for part in parts], ttnn.MeshShape(1, 2))
    on_mesh = ttnn.to_device(tensor, mesh)
    assert torch.equal(get(on_mesh, 1), parts[1])
    assert torch.equal(ttnn.to_torch(ttnn.get_device_tensors(ttnn.from_device(on_mesh))[0]), parts[0])
    with pytest.raises(RuntimeError, match="do not fill"):
        ttnn.from_host_shards([ttnn.from_torch(parts[0])], ttnn.MeshShape(1, 2))


def test_copy_host_to_device_overwrites_in_place_and_through_views() -> None:
    mesh = open_mesh(2)
    tensor = put(mesh, torch.zeros(32, 64))
    view = ttnn.unsqueeze_to_4D(tensor)
    new = torch.randn(32, 64)
    ttnn.copy_host_to_device_tensor(ttnn.from_torch(new, layout=TILE), tensor)
    assert torch.equal(get(tensor), new)
    assert torch.equal(get(view), new.reshape(1, 1, 32, 64))
    for wrong in (torch.zeros(32, 32), torch.zeros(32, 64, dtype=torch.bfloat16)):
        with pytest.raises(RuntimeError, match="different"):
            ttnn.copy_host_to_device_tensor(ttnn.from_torch(wrong, layout=TILE), tensor)
    with pytest.raises(RuntimeError, match="different layout"):
        ttnn.copy_host_to_device_tensor(ttnn.from_torch(new), tensor)


def test_use_after_deallocate_raises() -> None:
    mesh = open_mesh()
    tensor = put(mesh, torch.ones(32, 32))
    view = ttnn.reshape(tensor, [1, 32, 32])
    ttnn.deallocate(tensor)
    assert not tensor.is_allocated()
    assert tensor.shape == [32, 32]
    for use in (
        lambda: ttnn.add(tensor, tensor),
        lambda: ttnn.to_torch(tensor),
        lambda: ttnn.silu(view),
        lambda: ttnn.from_device(tensor),
    ):
        with pytest.raises(RuntimeError, match="not allocated"):
            use()
    tensor.deallocate()  # twice is harmless


def test_host_tensors_are_refused_by_device_operations() -> None:
    host = ttnn.from_torch(torch.ones(32, 32), layout=TILE)
    with pytest.raises(RuntimeError, match="host tensor"):
        ttnn.add(host, host)


def test_created_tensors() -> None:
    mesh = open_mesh(2)
    assert get(ttnn.full([2, 3], 1.5, device=mesh)).tolist() == [[1.5] * 3] * 2
    assert get(ttnn.zeros([2], dtype=ttnn.int32, device=mesh)).tolist() == [0, 0]
    assert spec(ttnn.ones([1, 1, 5, 64], layout=TILE, device=mesh))[1] == [1, 1, 32, 64]


def test_a_row_of_a_sharding_that_does_not_fit_is_refused() -> None:
    mesh = open_mesh()
    x = torch.ones(1, 1, 32, 256)
    ok = put(mesh, x, memory_config=sharded("WIDTH", 8, 32, 32))
    assert ok.memory_config() == sharded("WIDTH", 8, 32, 32)
    for message, config in {
        "must not exceed number of cores 4": sharded("WIDTH", 4, 32, 32),
        "must match physical height 32": sharded("WIDTH", 8, 64, 32),
        "must be tile": sharded("WIDTH", 8, 32, 40),
        "must match physical width 256": sharded("HEIGHT", 8, 32, 32),
        "without a shard spec": ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
    }.items():
        with pytest.raises(RuntimeError, match=message):
            put(mesh, x, memory_config=config)


def test_counters_on_the_device() -> None:
    mesh = open_mesh()
    positions = counters(mesh, [3, -1, 2**31 - 1])
    assert ttnn.plus_one(positions, skip_negative_entries=True) is positions
    assert get(positions).tolist() == [4, -1, 2**31 - 1]
    ids = counters(mesh, [[0, 7]], ttnn.uint32)
    ttnn.plus_one(ids)
    assert get(ids).tolist() == [[1, 8]]
