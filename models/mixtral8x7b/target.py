"""Which ttnn runs the model. The only file that knows; everything else says `import ttnn`.

cpu      ttnn_cpu, this repository's CPU backend: the numbers are right; the default where there is no chip
mock     the real ttnn on a mocked T3000: every call is legal and fits; values mean nothing
sim      the real ttnn and its kernels on simulated chips: what the kernels compute; no speed; tiny sizes
device   the real ttnn on real chips; the default where there are some. No one has run this project on chips yet.
"""

import os
import sys
from glob import glob
from importlib.machinery import PathFinder

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.settings import Settings

# ttnn's own variables: it finds the chips through them
_MOCKED, _SIMULATED = "TT_METAL_MOCK_CLUSTER_DESC_PATH", "TT_METAL_SIMULATOR"
TARGETS = ("cpu", "mock", "sim", "device")
NUMBERS_OF = {
    "cpu": "computed by the CPU backend, which rounds once per operation: accuracy is an upper bound of a chip's",
    "mock": "mocked chips: values mean nothing",
    "sim": "simulated chips: the real kernels' numbers, no speed",
    "device": "real chips, on which this project has not been validated",
}
T3000_CHIPS = 8


class TargetError(Mistake):
    """A target that does not exist or cannot be used here; the message says what to do."""


def default_target() -> str:
    """`device` where a Tenstorrent driver shows chips, else `cpu`."""
    return "device" if glob("/dev/tenstorrent/*") else "cpu"


def chosen_target(option: str | None) -> str:
    """What a program's option says, else MIXTRAL_TARGET, else the default."""
    return option or Settings.from_environment().target or default_target()


def use_target(name: str, n_chips: int = T3000_CHIPS) -> None:
    """Decides what `import ttnn` means in this process. Call it once, before anything imports ttnn.

    n_chips: how many chips the program will open; only `sim` must know, whose machine has as many.
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
    elif name == "device":
        for variable, other in ((_MOCKED, "mock"), (_SIMULATED, "sim")):
            if variable in os.environ:
                raise TargetError(f"cannot use target device: {variable} is set; unset it, or use target {other}")
        if loaded is None and PathFinder.find_spec("ttnn") is None:
            raise TargetError("cannot use target device: ttnn is not installed (Python 3.12 or 3.10 has it); use cpu")
    elif loaded is None:
        _use_virtual_chips(name, n_chips)
    elif {"mock": _MOCKED, "sim": _SIMULATED}[name] not in os.environ:
        raise TargetError(f"cannot use target {name}: ttnn is already imported, on other chips")


def _use_virtual_chips(name: str, n_chips: int) -> None:
    import virtual_t3000
    from virtual_t3000.sfpi import find_sfpi

    os.environ.setdefault("LOGURU_LEVEL", "INFO")  # importing ttnn prints its whole configuration at DEBUG
    settings = Settings.from_environment()
    try:
        if name == "mock":
            os.environ.update(virtual_t3000.prepare_mock(settings.user_cache, settings.sfpi))
            return
        if settings.simulator is None:
            raise TargetError("cannot use target sim: MIXTRAL_SIMULATOR does not name a simulator (docs/silicon.md)")
        if settings.sim_dispatch not in (None, "slow", "fast"):
            raise TargetError(f"MIXTRAL_SIM_DISPATCH is {settings.sim_dispatch!r}; expected slow or fast")
        sfpi = settings.sfpi or find_sfpi(settings.user_cache)
        if sfpi is None:
            raise TargetError("cannot use target sim: there is no kernel compiler; scripts/get_sfpi.py fetches it")
        os.environ.update(
            virtual_t3000.prepare_simulator(
                settings.user_cache, settings.simulator, sfpi, n_chips, settings.sim_dispatch == "fast"
            )
        )
    except virtual_t3000.VirtualChipsError as error:
        raise TargetError(f"cannot use target {name}: {error}") from error
    virtual_t3000.note_operations()


def can_trace(name: str) -> bool:
    """Whether the target records a decode step and replays it: not the mock, nor the simulator in slow dispatch, which
    is how `use_target` takes it unless it is asked for fast."""
    return name in ("cpu", "device") or (name == "sim" and Settings.from_environment().sim_dispatch == "fast")


def builds_programs(name: str) -> bool:
    """Whether the target builds a program for each new call, and keeps it: all but `cpu`. Where it does, a server warms
    up before it records a step that lasts (`tt/warm_up.py`); elsewhere neither is worth its time."""
    return name != "cpu"
