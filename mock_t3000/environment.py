"""What a process needs in its environment before it imports ttnn."""

import atexit
import os
import shutil
from pathlib import Path

from mock_t3000.runtime_root import MockError, make_root

# They name other chips; ttnn would listen to them beside ours.
_FOREIGN = (
    *("TT_METAL_SIMULATOR", "TT_METAL_VISIBLE_DEVICES", "TT_VISIBLE_DEVICES"),
    *("TT_MESH_GRAPH_DESC_PATH", "TT_MESH_ID", "TT_MESH_HOST_RANK", "TT_METAL_WATCHER", "TT_METAL_FORCE_JIT_COMPILE"),
)


def prepare(folder: Path, sfpi: Path | None = None) -> dict[str, str]:
    """Makes the private runtime root in `folder` if it is not there yet; returns the variables that choose it.

    If the path of `folder` has a space, the root goes to the temporary directory: ttnn cannot start a compiler there.
    `sfpi`: a real SFPI compiler (the folder that holds compiler/bin/), which then really compiles every kernel.
    This process's log folder is removed when it ends. Raises MockError where the mock cannot run.
    """
    foreign = [name for name in _FOREIGN if name in os.environ]
    if foreign:
        raise MockError(f"{' and '.join(foreign)} would change what is mocked; unset it")
    root = make_root(folder, sfpi)
    logs = root / "logs" / str(os.getpid())
    atexit.register(_remove, logs, os.getpid())
    return {
        "TT_METAL_MOCK_CLUSTER_DESC_PATH": str(root / "t3000.yaml"),
        "TT_METAL_RUNTIME_ROOT": str(root),
        "TT_METAL_HOME": str(root),  # often set where chips are, to a checkout of tt-metal
        "TT_METAL_CACHE": str(root / "kernels"),
        "TT_METAL_LOGS_PATH": str(logs),
        # in fast dispatch the mock's worker grid is 8x8 to some checks and 8x7 to others
        "TT_METAL_SLOW_DISPATCH_MODE": "1",
        "TT_METAL_INSPECTOR_RPC": "0",
        "TT_METAL_LOGGER_LEVEL": os.environ.get("TT_METAL_LOGGER_LEVEL", "FATAL"),
    }


def _remove(logs: Path, owner: int) -> None:
    if os.getpid() == owner:  # a forked child runs atexit functions too
        shutil.rmtree(logs, ignore_errors=True)
