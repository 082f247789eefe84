"""Collectives and partition against the shards taken one by one."""

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, get, open_mesh, put


@pytest.mark.parametrize("devices", [2, 4, 8])
@pytest.mark.parametrize("dim", [0, 2, -1])
def test_all_gather(devices: int, dim: int) -> None:
    mesh = open_mesh(devices)
    x = torch.randn(devices, 2, 32, 64)
    result = ttnn.all_gather(put(mesh, x, shard=0), dim=dim, cluster_axis=1)
    for device in range(devices):
        assert torch.equal(get(result, device), torch.cat([part.unsqueeze(0) for part in x], dim))
    replicated = ttnn.all_gather(put(mesh, x[:1]), dim=dim)
    assert torch.equal(get(replicated), torch.cat([x[:1]] * devices, dim))


@pytest.mark.parametrize("devices", [2, 8])
@pytest.mark.parametrize("dim", [2, 3])
def test_reduce_scatter_and_all_reduce(devices: int, dim: int) -> None:
    mesh = open_mesh(devices)
    x = torch.randn(devices, 1, 32 * devices, 32 * devices)
    total = x.sum(0, keepdim=True)
    scattered = ttnn.reduce_scatter(put(mesh, x, shard=0), dim=dim, memory_config=ttnn.L1_MEMORY_CONFIG)
    reduced = ttnn.all_reduce(put(mesh, x, shard=0))
    for device in range(devices):
        torch.testing.assert_close(get(scattered, device), total.chunk(devices, dim)[device])
        torch.testing.assert_close(get(reduced, device), total)
    again = ttnn.all_gather(scattered, dim=dim)
    assert torch.equal(get(again), get(reduced)), "the same sum, split and joined"
    ones = put(mesh, torch.ones(1, 1, 32 * devices, 32 * devices))
    assert get(ttnn.all_reduce(ones)).unique().tolist() == [devices]


def test_the_sum_is_rounded_once() -> None:
    """1 + 7 x 2**-8: added one by one in bf16 every addend is a tie that goes to even, and is lost."""
    mesh = open_mesh(8)
    x = torch.full((8, 1, 32, 256), 2.0**-8)
    x[0] = 1.0
    total = ttnn.all_reduce(put(mesh, x, ttnn.bfloat16, shard=0))
    assert get(total)[0, 0, 0, 0].item() == torch.tensor(1 + 7 * 2.0**-8).bfloat16().item() > 1.0


def test_partition_is_the_inverse_of_gather() -> None:
    mesh = open_mesh(4)
    x = torch.randn(1, 4, 32, 128)
    parts = ttnn.mesh_partition(put(mesh, x), 3, 1)
    assert torch.equal(get(parts, 2), x.chunk(4, 3)[2])
    assert torch.equal(get(ttnn.all_gather(parts, dim=3), 1), x)
    own = ttnn.mesh_partition(put(mesh, x), 1)
    assert [torch.equal(get(own, d)[0, 0], x[0, d]) for d in range(4)] == [True] * 4
    sharded_input = ttnn.mesh_partition(
        put(mesh, torch.stack([x[0]] * 4) * torch.arange(4.0).reshape(4, 1, 1, 1), shard=0), 3
    )
    assert torch.equal(get(sharded_input, 3), 3 * x.chunk(4, 3)[3])


def test_one_device_has_nobody_to_talk_to() -> None:
    mesh = open_mesh(1)
    x = put(mesh, torch.randn(1, 1, 32, 64))
    for collective in (
        lambda: ttnn.all_gather(x, dim=3),
        lambda: ttnn.reduce_scatter(x, dim=3),
        lambda: ttnn.all_reduce(x),
    ):
        with pytest.raises(RuntimeError, match="num_devices > 1"):
            collective()
    assert torch.equal(get(ttnn.mesh_partition(x, 3)), get(x))
    wide = open_mesh(2)
    with pytest.raises(RuntimeError, match="num_devices > 1"):
        ttnn.all_gather(put(wide, torch.randn(1, 1, 32, 64)), dim=3, cluster_axis=0)


def test_collectives_need_the_links() -> None:
    ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)
    mesh = ttnn.open_mesh_device(ttnn.MeshShape(1, 2))
    with pytest.raises(RuntimeError, match="fabric"):
        ttnn.all_gather(put(mesh, torch.ones(1, 1, 32, 32), layout=TILE), dim=3)
