"""Which ttnn runs the model. The only file that knows; everything else says `import ttnn`.

cpu      ttnn_cpu, this repository's CPU backend: the numbers are right; the default where there is no chip
mock     the real ttnn on a mocked T3000: every call is legal and fits; values mean nothing
device   the real ttnn on real chips; the default where there are some. No one has run this project on chips yet.
"""

import os
import sys
from glob import glob
from importlib.machinery import PathFinder

from models.mixtral8x7b.settings import Settings

_MOCKED = "TT_METAL_MOCK_CLUSTER_DESC_PATH"  # ttnn's own variable: it finds the chips in this file
TARGETS = ("cpu", "mock", "device")


class TargetError(Exception):
    """A target that does not exist or cannot be used here; the message says what to do."""


def default_target() -> str:
    """`device` where a Tenstorrent driver shows chips, else `cpu`."""
    return "device" if glob("/dev/tenstorrent/*") else "cpu"


def chosen_target(option: str | None) -> str:
    """What a program's option says, else MIXTRAL_TARGET, else the default."""
    return option or Settings.from_environment().target or default_target()


def use_target(name: str) -> None:
    """Decides what `import ttnn` means in this process. Call it once, before anything imports ttnn.

    Raises TargetError for an unknown target and when another ttnn is already imported.
    """
    if name not in TARGETS:
        raise TargetError(f"target is {name!r}; expected one of {', '.join(TARGETS)}")
    loaded = sys.modules.get("ttnn")
    is_cpu_backend = loaded is not None and loaded is sys.modules.get("ttnn_cpu")
    if loaded is not None and is_cpu_backend != (name == "cpu"):
        other = "the CPU backend" if is_cpu_backend else "the real ttnn"
        raise TargetError(f"cannot use target {name}: {other} is already imported; call use_target before it is")
    if name == "cpu":
        # torch's idle threads shall sleep: spinning, they make small operations 40 times slower on a busy machine
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import ttnn_cpu

        ttnn_cpu.install()
    elif name == "mock":
        _mock()
    elif _MOCKED in os.environ:
        raise TargetError(f"cannot use target device: {_MOCKED} is set; unset it, or use target mock")
    elif loaded is None and PathFinder.find_spec("ttnn") is None:
        raise TargetError("cannot use target device: ttnn is not installed (Python 3.12 or 3.10 has it); use cpu")


def _mock() -> None:
    if "ttnn" in sys.modules:
        if _MOCKED not in os.environ:
            raise TargetError("cannot use target mock: ttnn is already imported, on real chips")
        return
    import mock_t3000

    try:
        settings = Settings.from_environment()
        variables = mock_t3000.prepare(settings.user_cache, settings.sfpi)
    except mock_t3000.MockError as error:
        raise TargetError(f"cannot use target mock: {error}") from error
    os.environ.update(variables)
    os.environ.setdefault("LOGURU_LEVEL", "INFO")  # importing ttnn prints its whole configuration at DEBUG


def can_trace(name: str) -> bool:
    """Whether the target records a decode step and replays it; the mock cannot."""
    return name != "mock"
