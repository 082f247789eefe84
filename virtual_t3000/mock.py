"""A mocked T3000: what a process needs in its environment before it imports ttnn."""

import atexit
import os
import shutil
from pathlib import Path

from virtual_t3000.runtime_root import make_root, refuse_foreign_variables, variables_of


def prepare_mock(folder: Path, sfpi: Path | None = None) -> dict[str, str]:
    """Makes the private runtime root in `folder` if it is not there yet; returns the variables that choose it.

    `sfpi`: a real SFPI compiler (the folder that holds compiler/bin/), which then really compiles every kernel.
    This process's log folder is removed when it ends. Raises VirtualChipsError where the mock cannot run.
    """
    refuse_foreign_variables("TT_METAL_SIMULATOR")
    root = make_root(folder, sfpi)
    logs = root / "logs" / str(os.getpid())
    atexit.register(_remove, logs, os.getpid())
    return {
        **variables_of(root, logs),
        "TT_METAL_MOCK_CLUSTER_DESC_PATH": str(root / "t3000.yaml"),
        # in fast dispatch the mock's worker grid is 8x8 to some checks and 8x7 to others
        "TT_METAL_SLOW_DISPATCH_MODE": "1",
    }


def _remove(logs: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child runs atexit functions too
        shutil.rmtree(logs, ignore_errors=True)
