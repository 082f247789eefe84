"""ttnn_cpu against what the real kernels gave on a simulated chip: tests/data, made by tests/recorded/record.py."""

from functools import cache
from pathlib import Path

import pytest

import ttnn_cpu
from tests.recorded.calls import ALONE, DATA, read
from ttnn_cpu.witness.bounds import BOUNDS, Bound
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import difference

FILES = sorted(DATA.glob("*.npz"))
OF_ALONE = sorted(ALONE.glob("*.npz"))
MOST_BYTES = 4_000_000


@cache
def calls(file: Path) -> list[RecordedCall]:
    return read(file)[0]


def test_the_files_are_all_there_and_small() -> None:
    assert {file.stem for file in FILES} == set(BOUNDS)
    assert sum(file.stat().st_size for file in FILES + OF_ALONE) <= MOST_BYTES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_cpu_backend_gives_what_the_kernels_give(file: Path) -> None:
    mesh = ttnn_cpu.open_mesh_device(ttnn_cpu.MeshShape(1, 1))
    try:
        for call in calls(file):
            bound: Bound = BOUNDS[call.operation]
            found = difference(call.on_cpu(mesh), list(call.results))
            assert bound.holds(found), f"{call.operation} in {call.program}: {found}; expected {bound}"
    finally:
        ttnn_cpu.close_mesh_device(mesh)


@pytest.mark.parametrize("file", FILES + OF_ALONE, ids=lambda file: str(file.relative_to(DATA).with_suffix("")))
def test_chip_values_are_the_kernels_bits(file: Path) -> None:
    for call in calls(file):
        ttnn_cpu.set_fabric_config(ttnn_cpu.FabricConfig.FABRIC_1D_RING)
        n_chips = max(tensor.n_chips for tensor in call.inputs)
        mesh = ttnn_cpu.open_mesh_device(ttnn_cpu.MeshShape(1, n_chips), l1_small_size=1024)
        with ttnn_cpu.chip_values():
            found = difference(call.on_cpu(mesh), list(call.results))
        assert found.equal == 1.0, f"{call.operation} in {call.program}: {found}"
