"""The private runtime root: the folder that ttnn takes for its own, so that it writes nothing into the real one.

ROOT/tt_metal, ROOT/ttnn, ROOT/runtime/hw   links to the installed wheel
ROOT/runtime/sfpi/                          the stand-in compiler, or a link to a real one
ROOT/t3000.yaml, ROOT/empty_kernel.elf      the mock's chips; what the stand-in compiler gives
ROOT/kernels/                               ttnn's kernel cache; a run on real chips never sees these kernels
ROOT/logs/                                  what ttnn would write to the working directory, a folder for each process

There is one root for each compiler, and with a real one mock and simulators share it: ttnn would build a kernel anew in
another root.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.metadata import version
from pathlib import Path

from virtual_t3000 import sfpi_probe
from virtual_t3000.cluster import descriptor
from virtual_t3000.empty_kernel import empty_kernel
from virtual_t3000.private_folder import Contents, VirtualChipsError, make_folder
from virtual_t3000.sfpi_probe import introduction
from virtual_t3000.sfpi_wheel import SfpiError

find_spec = PathFinder.find_spec  # looks on disk only: in this process `ttnn` may be another module

# They name other chips, or change what is built; ttnn would listen to them beside ours.
_FOREIGN = (
    *("TT_METAL_VISIBLE_DEVICES", "TT_VISIBLE_DEVICES", "TT_MESH_GRAPH_DESC_PATH", "TT_MESH_ID", "TT_MESH_HOST_RANK"),
    *("TT_METAL_WATCHER", "TT_METAL_FORCE_JIT_COMPILE"),
)
COMPILER = Path("runtime/sfpi") / sfpi_probe.COMPILER
_STAND_IN = Path(__file__).with_name("stand_in_compiler.sh")


def make_root(folder: Path, sfpi: Path | None) -> Path:
    """The root for the installed ttnn, in `folder`; sfpi: a real compiler (the folder that holds compiler/bin/).

    Its name carries ttnn's version and a hash of all that it holds, the compiler's version among it. Raises
    VirtualChipsError.
    """
    wheel = installed_ttnn()
    links = {"tt_metal": wheel / "tt_metal", "ttnn": wheel / "ttnn", "runtime/hw": wheel / "runtime" / "hw"}
    files = {"t3000.yaml": descriptor().encode()}
    programs: tuple[str, ...] = ()
    if sfpi is not None:
        try:
            files["compiler_version"] = introduction(sfpi).encode()
        except SfpiError as error:
            raise VirtualChipsError(str(error)) from error
        links["runtime/sfpi"] = sfpi.absolute()
    else:
        files |= {str(COMPILER): _STAND_IN.read_bytes(), "empty_kernel.elf": empty_kernel()}
        programs = (str(COMPILER),)
    name = f"{'mock' if sfpi is None else 'root'}-ttnn-{version('ttnn')}"
    return make_folder(folder, name, Contents(links, files, programs, empty=("kernels", "logs")))


def variables_of(root: Path, logs: Path) -> dict[str, str]:
    """What mock and simulator have in common: ttnn keeps to the root and to this process's folder of logs."""
    return {
        "TT_METAL_RUNTIME_ROOT": str(root),
        "TT_METAL_HOME": str(root),  # often set where chips are, to a checkout of tt-metal
        "TT_METAL_CACHE": str(root / "kernels"),
        "TT_METAL_LOGS_PATH": str(logs),
        "TT_METAL_INSPECTOR_RPC": "0",
        "TT_METAL_LOGGER_LEVEL": os.environ.get("TT_METAL_LOGGER_LEVEL", "FATAL"),
    }


def refuse_foreign_variables(other: str) -> None:
    """Raises VirtualChipsError if the environment already tells ttnn about chips. `other`: the variable of the other
    kind of virtual chips; one's own may be inherited."""
    foreign = [name for name in (other, *_FOREIGN) if name in os.environ]
    if foreign:
        raise VirtualChipsError(f"{' and '.join(foreign)} would change which chips there are; unset it")


def installed_ttnn() -> Path:
    """The folder of the wheel; raises VirtualChipsError where there is none."""
    spec = find_spec("ttnn")
    if spec is None or not spec.submodule_search_locations:
        raise VirtualChipsError(
            "the ttnn package is not installed; its wheels are for Linux on x86-64 with Python 3.10 or 3.12, and this "
            f"is {sys.platform} with Python {sys.version_info.major}.{sys.version_info.minor}: set up again with one "
            "of them, or use target cpu"
        )
    return Path(spec.submodule_search_locations[0]).absolute()
