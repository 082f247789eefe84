"""ttnn_cpu against what the real kernels gave on a simulated chip: tests/data, made by tests/recorded/record.py."""

from functools import cache
from pathlib import Path

import pytest

import ttnn_cpu
from tests.recorded.calls import DATA, read
from ttnn_cpu.witness.bounds import BOUNDS, Bound
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import difference

FILES = sorted(DATA.glob("*.npz"))
MOST_BYTES = 3_000_000


@cache
def calls(file: Path) -> list[RecordedCall]:
    return read(file)[0]


def test_the_files_are_all_there_and_small() -> None:
    assert {file.stem for file in FILES} == set(BOUNDS)
    assert sum(file.stat().st_size for file in FILES) <= MOST_BYTES


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
