"""Makes tests/data anew: one file for each operation that the model calls, by the real kernels on a simulated chip.

.venv/bin/python -m tests.recorded.record [operation ...]     # MIXTRAL_SIMULATOR names the simulator
.venv/bin/python -m tests.recorded.record reduce_scatter      # this one on eight
"""

from __future__ import annotations

import datetime
import hashlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from models.mixtral8x7b.target import TargetError, use_target

if TYPE_CHECKING:
    from ttnn_cpu.witness.calls import RecordedCall


def main() -> None:
    wanted = frozenset(sys.argv[1:])
    sums = wanted == {"reduce_scatter"}
    try:
        use_target("sim", n_chips=8 if sums else 1)
    except TargetError as error:
        sys.exit(f"record: {error}")
    import ttnn

    from models.mixtral8x7b.tt.mesh import open_mesh
    from tests.recorded.calls import ALONE, DATA
    from tests.recorded.program import SMALL, record_model
    from tests.recorded.single import record_single, record_sums
    from tests.tt.cases import reference

    with open_mesh(8 if sums else 1) as mesh:
        if sums:
            keep(record_sums(ttnn, mesh), ALONE)
        else:
            keep(record_model(ttnn, mesh, reference(SMALL), "performance", wanted), DATA)
            keep(record_single(ttnn, mesh, wanted), ALONE)


def keep(made: Iterable[RecordedCall], folder: Path) -> None:
    from tests.recorded.calls import write

    by_operation = defaultdict[str, "list[RecordedCall]"](list)
    for call in made:
        by_operation[call.operation].append(call)
    for operation, calls in by_operation.items():
        file = folder / f"{operation}.npz"
        write(file, calls, provenance())
        print(f"{file.relative_to(folder.parent)}: {len(calls)} calls, {file.stat().st_size / 1e3:.0f} kB")


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
