"""Makes tests/data anew: one file for each operation that the model calls, by the real kernels on a simulated chip.

.venv/bin/python -m tests.recorded.record [operation ...]     # MIXTRAL_SIMULATOR names the simulator
"""

import datetime
import hashlib
import os
import sys
from collections import defaultdict
from importlib.metadata import version
from pathlib import Path

from models.mixtral8x7b.target import TargetError, use_target


def main() -> None:
    try:
        use_target("sim", n_chips=1)
    except TargetError as error:
        sys.exit(f"record: {error}")
    import ttnn

    from models.mixtral8x7b.tt.mesh import open_mesh
    from tests.recorded.calls import DATA, write
    from tests.recorded.program import SMALL, record_model
    from tests.tt.cases import reference
    from ttnn_cpu.witness.calls import RecordedCall

    by_operation = defaultdict[str, list[RecordedCall]](list)
    with open_mesh(1) as mesh:
        for call in record_model(ttnn, mesh, reference(SMALL), "performance", frozenset(sys.argv[1:])):
            by_operation[call.operation].append(call)
    for operation, calls in by_operation.items():
        write(DATA / f"{operation}.npz", calls, provenance())
        print(f"{operation}: {len(calls)} calls, {(DATA / f'{operation}.npz').stat().st_size / 1e3:.0f} kB")


def provenance() -> dict[str, str]:
    """What the kernels ran on, for every figure that comes of it."""
    root = Path(os.environ["TT_METAL_RUNTIME_ROOT"])
    library = Path(os.environ["TT_METAL_SIMULATOR"]).read_bytes()
    return {
        "ttnn": version("ttnn"),
        "compiler": (root / "compiler_version").read_text().splitlines()[0],
        "simulator": f"libttsim.so, sha256 {hashlib.sha256(library).hexdigest()[:16]}",
        "date": datetime.date.today().isoformat(),
    }


if __name__ == "__main__":
    main()
