"""Files of `tensorbin` and of the CPU backend are the real library's byte for byte, and each reads the other's."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
import torch
import ttnn

import tensorbin
import ttnn_cpu
from tests.mock.test_host_formats import INPUTS, random_bits

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh

FLOATS = ("BFLOAT16", "FLOAT32", "BFLOAT8_B", "BFLOAT4_B")
INTEGERS = ("UINT8", "UINT16", "UINT32", "INT32")
LAYOUTS = ("TILE", "ROW_MAJOR")
# The CPU backend holds values, which do not tell how groups of less than 2 ** -120 were packed.
ORDINARY = [name for name in INPUTS if not name.startswith("random bits")]


def test_the_version_is_the_installed_one() -> None:
    from importlib.metadata import version

    assert version("ttnn") == tensorbin.TTNN_VERSION


def make(library: ModuleType, source: torch.Tensor, dtype: str, layout: str, **options: object):
    return library.from_torch(
        source, dtype=getattr(library.DataType, dtype), layout=getattr(library.Layout, layout), **options
    )


def header(source: torch.Tensor, dtype: str, layout: str, *mesh: tuple) -> tensorbin.Header:
    return tensorbin.Header(tuple(source.shape), tensorbin.DType[dtype], tensorbin.Layout[layout], *mesh)


def dumped(library: ModuleType, folder: Path, tensor) -> bytes:
    path = folder / f"{library.__name__}.tensorbin"
    library.dump_tensor(path, tensor)
    return path.read_bytes()


def read_back(library: ModuleType, path: Path) -> list[torch.Tensor]:
    """The parts' bits."""
    parts = [library.to_torch(part) for part in library.get_device_tensors(library.load_tensor(path))]
    words = {torch.bfloat16: torch.int16, torch.float32: torch.int32}
    return [part.contiguous().view(words.get(part.dtype, part.dtype)) for part in parts]


def same_values_either_way(folder: Path) -> None:
    """Of the file that both libraries wrote."""
    ours, real = (read_back(library, folder / "ttnn.tensorbin") for library in (ttnn_cpu, ttnn))
    assert len(real) % len(ours) == 0
    for mine, theirs in zip(ours * (len(real) // len(ours)), real, strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("source_dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", INPUTS)
def test_packed_bytes_and_values(name: str, dtype: str, source_dtype: torch.dtype, tmp_path: Path) -> None:
    source = INPUTS[name]().to(source_dtype)
    for layout in LAYOUTS[: 1 if dtype.endswith("_B") else 2]:
        for values in (source, source.transpose(0, -1)):
            real = dumped(ttnn, tmp_path, make(ttnn, values, dtype, layout))
            ours = header(values, dtype, layout)
            data = tensorbin.pack(values, ours.dtype, ours.layout)
            tensorbin.write(tmp_path / "ours.tensorbin", ours, [data])
            assert (tmp_path / "ours.tensorbin").read_bytes() == real
            loaded = ttnn.to_torch(ttnn.load_tensor(tmp_path / "ours.tensorbin"))
            mine = tensorbin.unpack(data, ours.shape, ours.dtype, ours.layout)
            if loaded.dtype is torch.bfloat16:
                mine = (mine.view(torch.int32) >> 16).to(torch.int16).view(torch.bfloat16)
            words = torch.int16 if loaded.dtype is torch.bfloat16 else torch.int32
            assert torch.equal(loaded.contiguous().view(words), mine.view(words))


@pytest.mark.parametrize("dtype", ["BFLOAT8_B", "BFLOAT4_B"])
def test_any_bytes_mean_the_same(dtype: str, tmp_path: Path) -> None:
    ours = header(torch.empty(640, 64), dtype, "TILE")
    data = torch.randint(0, 256, (ours.part_bytes,), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    tensorbin.write(tmp_path / "x.tensorbin", ours, [data])
    real = ttnn.to_torch(ttnn.load_tensor(tmp_path / "x.tensorbin"))
    mine = tensorbin.unpack(data, ours.shape, ours.dtype, ours.layout)
    assert torch.equal(real.view(torch.int32), mine.view(torch.int32))


@pytest.mark.parametrize("name", ORDINARY)
@pytest.mark.parametrize("dtype", FLOATS)
def test_the_cpu_backends_files(name: str, dtype: str, tmp_path: Path) -> None:
    for source in (INPUTS[name](), INPUTS[name]().bfloat16()):
        ours, real = (dumped(library, tmp_path, make(library, source, dtype, "TILE")) for library in (ttnn_cpu, ttnn))
        assert ours == real
        same_values_either_way(tmp_path)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("shape", [(), (40,), (3, 45), (2, 3, 33, 47)], ids=str)
def test_integers(shape: tuple[int, ...], dtype: str, layout: str, tmp_path: Path) -> None:
    high = {"UINT8": 2**8, "UINT16": 2**16}.get(dtype, 2**31)
    source = torch.randint(0, high, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int32)
    source = source.to(torch.uint8) if dtype == "UINT8" else source
    ours, real = (dumped(library, tmp_path, make(library, source, dtype, layout)) for library in (ttnn_cpu, ttnn))
    assert ours == real
    same_values_either_way(tmp_path)


def mappers(library: ModuleType, device: object) -> dict[str, object]:
    replicated, split = library.PlacementReplicate(), library.PlacementShard(1)
    return {
        "none": None,
        "replicated": library.ReplicateTensorToMesh(device),
        "replicated by a mapper": library.replicate_tensor_to_mesh_mapper(device),
        **{f"split {dim}": library.ShardTensorToMesh(device, dim=dim) for dim in (0, 1, 2, -1)},
        "split by a mapper": library.shard_tensor_to_mesh_mapper(device, 1),
        "both axes": library.create_mesh_mapper(device, library.MeshMapperConfig([replicated, split])),
        "no axis": library.create_mesh_mapper(device, library.MeshMapperConfig([replicated, replicated])),
        "2-D": library.ShardTensor2dMesh(device, mesh_shape=(1, 8), dims=(0, -1)),
    }


@pytest.fixture(scope="module")
def cpu_mesh() -> "ttnn_cpu.MeshDevice":
    return ttnn_cpu.open_mesh_device(ttnn_cpu.MeshShape(1, 8))


@pytest.mark.parametrize("dtype", ["BFLOAT16", "FLOAT32", "BFLOAT8_B", "BFLOAT4_B", "INT32", "UINT32"])
def test_all_ways_to_lay_a_tensor_over_the_chips(
    dtype: str, mesh: "Mesh", cpu_mesh: "ttnn_cpu.MeshDevice", tmp_path: Path
) -> None:
    source = torch.randn(8, 16, 24, generator=torch.Generator().manual_seed(2))
    source = (source * 1000).abs().to(torch.int32) if "INT" in dtype else source
    devices = {ttnn: mesh.device, ttnn_cpu: cpu_mesh}
    for layout in LAYOUTS[: 1 if dtype.endswith("_B") else 2]:
        for name in mappers(ttnn, mesh.device):
            ours, real = (
                dumped(library, tmp_path, make(library, source, dtype, layout, mesh_mapper=mappers(library, at)[name]))
                for library, at in devices.items()
            )
            assert ours == real, name
            same_values_either_way(tmp_path)


@pytest.mark.parametrize("mesh_shape", [(1, 1), (1, 2), (1, 4), (1, 8), (2, 4), (8, 1)], ids=str)
@pytest.mark.parametrize("dtype", ["BFLOAT16", "BFLOAT8_B"])
def test_from_host_shards(dtype: str, mesh_shape: tuple[int, int], tmp_path: Path) -> None:
    sources = [random_bits(33, 47).bfloat16().nan_to_num(0, 1, -1) for _ in range(mesh_shape[0] * mesh_shape[1])]
    sources = [(source + number).clamp(-100, 100) for number, source in enumerate(sources)]
    ours, real = (
        dumped(
            library,
            tmp_path,
            library.from_host_shards(
                [make(library, source, dtype, "TILE") for source in sources], library.MeshShape(*mesh_shape)
            ),
        )
        for library in (ttnn_cpu, ttnn)
    )
    assert ours == real
    same_values_either_way(tmp_path)


CHAINS: dict[str, Callable] = {
    "loaded": lambda library, path: library.load_tensor(path),
    "one of the shards": lambda library, path: library.get_device_tensors(library.load_tensor(path))[3],
    "joined again": lambda library, path: library.from_host_shards(
        library.get_device_tensors(library.load_tensor(path)), library.MeshShape(2, 4)
    ),
}


@pytest.mark.parametrize("name", CHAINS)
def test_what_was_loaded_is_written_alike(
    name: str, mesh: "Mesh", cpu_mesh: "ttnn_cpu.MeshDevice", tmp_path: Path
) -> None:
    source = torch.randn(8, 1, 40, 64, generator=torch.Generator().manual_seed(3))
    mapper = ttnn.ShardTensorToMesh(mesh.device, dim=0)
    ttnn.dump_tensor(tmp_path / "x.tensorbin", make(ttnn, source, "BFLOAT8_B", "TILE", mesh_mapper=mapper))
    ours, real = (
        dumped(library, tmp_path, CHAINS[name](library, tmp_path / "x.tensorbin")) for library in (ttnn_cpu, ttnn)
    )
    assert ours == real


def test_as_tensor_writes_the_same_files(mesh: "Mesh", cpu_mesh: "ttnn_cpu.MeshDevice", tmp_path: Path) -> None:
    source = torch.randn(8, 8, 40, 64, generator=torch.Generator().manual_seed(4))
    for library, device in ((ttnn, mesh.device), (ttnn_cpu, cpu_mesh)):
        for number, name in enumerate(mappers(library, device)):
            library.as_tensor(
                source,
                dtype=library.bfloat8_b,
                layout=library.TILE_LAYOUT,
                device=device,
                memory_config=library.DRAM_MEMORY_CONFIG,
                mesh_mapper=mappers(library, device)[name],
                cache_file_name=tmp_path / library.__name__ / str(number),
            )
    files = sorted(path.name for path in (tmp_path / "ttnn").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "ttnn_cpu").iterdir())
    for file in files:
        assert (tmp_path / "ttnn" / file).read_bytes() == (tmp_path / "ttnn_cpu" / file).read_bytes()


def test_other_memory_configs_are_refused_on_our_side(tmp_path: Path) -> None:
    tensor = make(ttnn, torch.ones(32, 32), "BFLOAT16", "TILE", memory_config=ttnn.L1_MEMORY_CONFIG)
    ttnn.dump_tensor(tmp_path / "x.tensorbin", tensor)
    with pytest.raises(tensorbin.TensorbinError, match=r"x\.tensorbin: the header is not what ttnn writes"):
        tensorbin.read_header(tmp_path / "x.tensorbin")
