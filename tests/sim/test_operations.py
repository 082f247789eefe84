"""The recorded calls, made again: tests/data is what these kernels give, to the bit.

40 s with kernels cached.
"""

from collections import defaultdict
from collections.abc import Container, Iterable
from pathlib import Path

import pytest
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh
from tests.recorded.calls import ALONE, DATA, read
from tests.recorded.program import SMALL, record_model
from tests.recorded.single import record_single
from tests.tt.cases import reference
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import difference


@pytest.mark.timeout(0)  # cold kernels take minutes
@pytest.mark.router_and_sampler
def test_the_recorded_calls_repeat(mesh: Mesh) -> None:
    _check_again(record_model(ttnn, mesh, reference(SMALL), "performance"), DATA)


@pytest.mark.timeout(0)
@pytest.mark.router_and_sampler
def test_the_single_calls_repeat(mesh: Mesh) -> None:
    """30 s; reduce_scatter's are of eight chips."""
    _check_again(record_single(ttnn, mesh), ALONE, {"reduce_scatter"})


def _check_again(calls: Iterable[RecordedCall], folder: Path, left_out: Container[str] = ()) -> None:
    made = defaultdict[str, list[RecordedCall]](list)
    for call in calls:
        made[call.operation].append(call)
    for file in sorted(folder.glob("*.npz")):
        if file.stem in left_out:
            continue
        kept, provenance = read(file)
        again = made.pop(file.stem)
        wanted = [(call.positional, call.named) for call in kept]
        assert [(call.positional, call.named) for call in again] == wanted, f"record {file.stem} anew"
        for now, then in zip(again, kept, strict=True):
            found = difference(list(now.results), list(then.results))
            assert found.equal == 1.0, f"{file.stem} in {now.program}: {found} to what {provenance} gave"
    assert not made, f"not recorded: {', '.join(made)}"
