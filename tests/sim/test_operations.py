"""The recorded calls, made again: tests/data is what these kernels give, to the bit.

40 s with kernels cached.
"""

from collections import defaultdict

import pytest
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh
from tests.recorded.calls import DATA, read
from tests.recorded.program import SMALL, record_model
from tests.tt.cases import reference
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import difference


@pytest.mark.timeout(0)  # cold kernels take minutes
@pytest.mark.router_and_sampler
def test_the_recorded_calls_repeat(mesh: Mesh) -> None:
    made = defaultdict[str, list[RecordedCall]](list)
    for call in record_model(ttnn, mesh, reference(SMALL), "performance"):
        made[call.operation].append(call)
    for file in sorted(DATA.glob("*.npz")):
        kept, provenance = read(file)
        again = made.pop(file.stem)
        wanted = [(call.positional, call.named) for call in kept]
        assert [(call.positional, call.named) for call in again] == wanted, f"record {file.stem} anew"
        for now, then in zip(again, kept, strict=True):
            found = difference(list(now.results), list(then.results))
            assert found.equal == 1.0, f"{file.stem} in {now.program}: {found} to what {provenance} gave"
    assert not made, f"not recorded: {', '.join(made)}"
