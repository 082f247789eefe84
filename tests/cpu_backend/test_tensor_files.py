"""Files: what is written, when it is read, what is refused. tests/mock/test_tensorbin.py compares with ttnn's."""

from pathlib import Path
from typing import Any

import pytest
import torch

import tensorbin
import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import ROWS, TILE, get, open_mesh, put, spec


def test_files(tmp_path: Path) -> None:
    mesh = open_mesh(4)
    x = torch.randn(4, 33, 40)
    for dtype in (ttnn.bfloat16, ttnn.bfloat8_b, ttnn.bfloat4_b, ttnn.float32):
        tensor = ttnn.from_torch(x, dtype=dtype, layout=TILE, mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=0))
        ttnn.dump_tensor(tmp_path / "x.tensorbin", tensor)
        loaded = ttnn.load_tensor(tmp_path / "x.tensorbin", device=mesh)
        assert spec(loaded) == spec(tensor)
        for device in range(4):
            assert torch.equal(get(loaded, device), get(tensor, device))
    assert [p.name for p in tmp_path.iterdir()] == ["x.tensorbin"], "no temporary file stays"
    with pytest.raises(RuntimeError, match="tensorbin"):
        ttnn.dump_tensor(tmp_path / "x.bin", tensor)


@pytest.mark.parametrize("damage", [b"", b"no tensor", None])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "x.tensorbin"
    ttnn.dump_tensor(path, ttnn.from_torch(torch.randn(64, 64)))
    path.write_bytes(path.read_bytes()[:-100] if damage is None else damage)
    with pytest.raises(RuntimeError, match=r"x\.tensorbin"):
        ttnn.load_tensor(path)
    with pytest.raises(RuntimeError, match=r"y\.tensorbin"):
        ttnn.load_tensor(tmp_path / "y.tensorbin")


def test_exact_values_do_not_go_through_files(tmp_path: Path) -> None:
    tensor = ttnn.from_torch(torch.randn(4, 4), dtype=ttnn.bfloat16)
    ttnn.dump_tensor(tmp_path / "x.tensorbin", tensor)
    with ttnn.exact_values():
        with pytest.raises(RuntimeError, match="load_tensor: a file holds rounded values"):
            ttnn.load_tensor(tmp_path / "x.tensorbin")
        with pytest.raises(RuntimeError, match="dump_tensor: a file holds rounded values"):
            ttnn.dump_tensor(tmp_path / "x.tensorbin", tensor)


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What was decoded so far."""
    found: list[torch.Tensor] = []
    original = tensorbin.unpack

    def unpack(*arguments: Any) -> torch.Tensor:
        found.append(original(*arguments))
        return found[-1]

    monkeypatch.setattr(tensorbin, "unpack", unpack)
    return found


def test_a_file_is_decoded_once_and_when_its_values_are_used(tmp_path: Path, unpacked: list[torch.Tensor]) -> None:
    mesh = open_mesh(2)
    x = torch.randn(2, 32, 64)
    source = ttnn.from_torch(x, dtype=ttnn.bfloat8_b, mesh_mapper=ttnn.ShardTensorToMesh(mesh, dim=0))
    ttnn.dump_tensor(tmp_path / "x.tensorbin", source)
    host = ttnn.load_tensor(tmp_path / "x.tensorbin")
    first, second = (ttnn.to_device(host, mesh) for _ in range(2))
    direct = ttnn.load_tensor(tmp_path / "x.tensorbin", device=mesh)
    view = ttnn.get_device_tensors(host)[1]
    ttnn.deallocate(direct)
    ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_torch(torch.zeros(4)))  # another file, under its name
    assert spec(first) == spec(put(mesh, x, ttnn.bfloat8_b, shard=0))
    assert not unpacked
    total = ttnn.add(first, second)
    assert len(unpacked) == 2, "once for each part"
    ttnn.deallocate(first)
    assert torch.equal(get(second, 1), ttnn.to_torch(ttnn.get_device_tensors(source)[1]))
    assert torch.equal(ttnn.to_torch(view), get(second, 1))
    assert torch.equal(get(total), get(second) * 2)
    assert len(unpacked) == 2


def test_a_loaded_tensor_that_is_written_in_place_is_ones_own(tmp_path: Path) -> None:
    mesh = open_mesh()
    ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_torch(torch.zeros(4), dtype=ttnn.int32))
    host = ttnn.load_tensor(tmp_path / "x.tensorbin")
    counter = ttnn.to_device(host, mesh)
    ttnn.plus_one(counter)
    assert get(counter).tolist() == [1] * 4
    assert ttnn.to_torch(host).tolist() == [0] * 4


def test_a_mesh_without_values_reads_no_file(tmp_path: Path, unpacked: list[torch.Tensor]) -> None:
    ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_torch(torch.zeros(32, 32), dtype=ttnn.bfloat8_b))
    with ttnn.specs_only():
        mesh = open_mesh(2)
    loaded = ttnn.load_tensor(tmp_path / "x.tensorbin", device=mesh)
    assert get(ttnn.add(loaded, loaded)).is_meta
    assert not unpacked


def test_a_file_for_other_meshes(tmp_path: Path) -> None:
    parts = [ttnn.from_torch(torch.full((4,), float(i)), layout=ROWS) for i in range(4)]
    ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_host_shards(parts, ttnn.MeshShape(1, 4)))
    with pytest.raises(RuntimeError, match="a tensor of 4 shards does not go on"):
        ttnn.load_tensor(tmp_path / "x.tensorbin", device=open_mesh(8))
    ttnn.dump_tensor(tmp_path / "y.tensorbin", parts[3])
    assert get(ttnn.load_tensor(tmp_path / "y.tensorbin", device=open_mesh(8)), 7).tolist() == [3.0] * 4


def test_tensors_that_are_not_written(tmp_path: Path) -> None:
    mesh = open_mesh()
    tensor = put(mesh, torch.ones(32, 32))
    with pytest.raises(RuntimeError, match="takes a host tensor"):
        ttnn.dump_tensor(tmp_path / "x.tensorbin", tensor)
    for host in (ttnn.from_device(tensor), *ttnn.get_device_tensors(ttnn.from_device(tensor))):
        with pytest.raises(NotImplementedError, match="from_device"):
            ttnn.dump_tensor(tmp_path / "x.tensorbin", host)
    with pytest.raises(NotImplementedError, match="L1"):
        ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_torch(torch.ones(4), memory_config=ttnn.L1_MEMORY_CONFIG))
    with pytest.raises(RuntimeError, match=r"shape \(0, 4\) .* is out of range"):
        ttnn.dump_tensor(tmp_path / "x.tensorbin", ttnn.from_torch(torch.ones(0, 4)))
    with pytest.raises(RuntimeError, match=r"cannot write .*x\.tensorbin"):
        ttnn.dump_tensor(tmp_path / "none" / "x.tensorbin", ttnn.from_torch(torch.ones(4)))
    assert not list(tmp_path.iterdir())


def test_as_tensor_writes_once_and_then_reads(tmp_path: Path) -> None:
    mesh = open_mesh(2)
    x = torch.randn(2, 32, 32)
    arguments = {
        "dtype": ttnn.bfloat8_b,
        "layout": TILE,
        "device": mesh,
        "mesh_mapper": ttnn.ShardTensorToMesh(mesh, dim=0),
        "cache_file_name": tmp_path / "layers" / "w1",
    }
    first = ttnn.as_tensor(x, **arguments)
    assert (tmp_path / "layers" / "w1_dtype_BFLOAT8_B_layout_TILE.tensorbin").exists()
    second = ttnn.as_tensor(None, **arguments)
    assert torch.equal(get(first, 1), get(second, 1))
    direct = put(mesh, x, ttnn.bfloat8_b, shard=0)
    assert torch.equal(get(first, 1), get(direct, 1))
