"""A mocked T3000: what a process needs in its environment before it imports ttnn."""

import atexit
import os
import shutil
from pathlib import Path

from virtual_t3000.cluster import eight_n150
from virtual_t3000.private_folder import Contents, VirtualChipsError, make_folder
from virtual_t3000.runtime_root import make_root, refuse_foreign_variables, variables_of

_CHIPS = "TT_METAL_MOCK_CLUSTER_DESC_PATH"
SLOW_DISPATCH = "TT_METAL_SLOW_DISPATCH_MODE"


def prepare_mock(folder: Path, sfpi: Path | None = None, fast_dispatch: bool = False) -> dict[str, str]:
    """Makes the private runtime root in `folder` if it is not there yet; returns the variables that choose it.

    `sfpi`: a real SFPI compiler (the folder that holds compiler/bin/), which then really compiles every kernel.
    `fast_dispatch`: as on real chips, with traces, of which the mock takes empty ones; the boards are other ones then.
    This process's log folder is removed when it ends. Raises VirtualChipsError where the mock cannot run.
    """
    refuse_foreign_variables("TT_METAL_SIMULATOR")
    if fast_dispatch and SLOW_DISPATCH in os.environ:
        raise VirtualChipsError(f"cannot mock fast dispatch: {SLOW_DISPATCH} is set; unset it")
    root = make_root(folder, sfpi)
    logs = root / "logs" / str(os.getpid())
    atexit.register(_remove, logs, os.getpid())
    variables = variables_of(root, logs)
    if not fast_dispatch:
        return variables | {_CHIPS: str(root / "t3000.yaml"), SLOW_DISPATCH: "1"}
    boards = make_folder(folder, "eight-n150", Contents({}, {"cluster.yaml": eight_n150().encode()}))
    return variables | {_CHIPS: str(boards / "cluster.yaml")}


def _remove(logs: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child runs atexit functions too
        shutil.rmtree(logs, ignore_errors=True)
