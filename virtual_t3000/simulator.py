"""Simulated chips: what a process needs before it imports ttnn, so that ttnn runs its kernels on ttsim.

ttsim is Tenstorrent's functional simulator of a Wormhole chip, one shared library (`libttsim.so`) that the user brings:
https://github.com/tenstorrent/ttsim. Nothing of it is in this repository. ttnn drives it as it drives chips behind
PCIe. It is found in a private folder with the descriptions of the chips beside it:

libttsim.so               a link to the user's library
soc_descriptor.yaml       a link into the wheel: what a Wormhole chip has
cluster_descriptor.yaml   for 8 chips: how a T3000 is wired. Only with it ttnn takes them for one machine

Seen to work with ttsim 1.10.0.
"""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from virtual_t3000.cluster import descriptor
from virtual_t3000.private_folder import Contents, VirtualChipsError, make_folder
from virtual_t3000.runtime_root import installed_ttnn, make_root, refuse_foreign_variables, variables_of
from virtual_t3000.witness import start_witness

TTNN = "0.81.1"  # another one's kernels and driver were never seen to work with the simulator
CHIPS_BEHIND_PCIE = {1: 1, 8: 4}  # by the number of chips: half of a T3000 hangs behind the other half
# a build of ttsim's sources, a release's file, or whatever the folder holds
_NAMES = {
    1: ("release_wh/libttsim.so", "libttsim_wh.so", "libttsim.so"),
    8: ("release_wh_x8/libttsim.so", "libttsim_wh_x8.so", "libttsim.so"),
}
_SOC_DESCRIPTOR = "tt_metal/soc_descriptors/wormhole_b0_80_arch.yaml"
_COUNT_CHIPS = """
import ctypes, sys
library = ctypes.CDLL(sys.argv[1])
library.libttsim_init()
library.libttsim_pci_config_rd32.restype = ctypes.c_uint32
names = [library.libttsim_pci_config_rd32(device << 3, 0) for device in range(32)]
sys.exit(64 + names.count(0x401E1E52))  # vendor and device id of a Wormhole chip
"""


def prepare_simulator(
    folder: Path, library: Path, sfpi: Path, n_chips: int, fast_dispatch: bool = False
) -> dict[str, str]:
    """Makes what is missing of the private folders in `folder`; returns the variables that choose them.

    `library`: libttsim.so, or a folder with the ones for 1 and for 8 chips, as a build of ttsim makes it. `sfpi`: the
    compiler for the kernels. `fast_dispatch`: commands go through the chips' own dispatch cores, which traces need.

    From now on a process of its own watches this one: if the simulator ends it, it says so in one sentence with the
    operation that was running. Raises VirtualChipsError.
    """
    refuse_foreign_variables("TT_METAL_MOCK_CLUSTER_DESC_PATH")
    wheel = installed_ttnn()
    if version("ttnn") != TTNN:
        raise VirtualChipsError(f"ttnn {version('ttnn')} is installed; the simulator was seen to work with {TTNN} only")
    links = {
        "libttsim.so": find_library(library, n_chips),
        "soc_descriptor.yaml": wheel / _SOC_DESCRIPTOR,
    }
    files = {"cluster_descriptor.yaml": descriptor().encode()} if n_chips > 1 else {}
    machine = make_folder(folder, f"simulated-{n_chips}", Contents(links, files))
    root = make_root(folder, sfpi)
    return {
        **variables_of(root, start_witness(root / "logs")),
        "TT_METAL_SIMULATOR": str(machine / "libttsim.so"),
        "TT_METAL_DISABLE_SFPLOADMACRO": "1",  # instructions that the simulator does not know
        **({} if fast_dispatch else {"TT_METAL_SLOW_DISPATCH_MODE": "1"}),
    }


def find_library(given: Path, n_chips: int) -> Path:
    """The simulator of n_chips: `given` itself, or the one in this folder. Raises VirtualChipsError."""
    if n_chips not in CHIPS_BEHIND_PCIE:
        raise VirtualChipsError(f"{n_chips} simulated chips; expected one of {', '.join(map(str, CHIPS_BEHIND_PCIE))}")
    found = list(_candidates(given, n_chips))
    if not found:
        wanted = ", ".join(_NAMES[n_chips])
        raise VirtualChipsError(f"{given} is no simulator; expected libttsim.so, or a folder with one of {wanted}")
    refusals = []
    for library in found:
        refusal = _refusal(library, n_chips)
        if refusal is None:
            return library
        refusals.append(refusal)
    raise VirtualChipsError(refusals[0])


def _candidates(given: Path, n_chips: int) -> Iterator[Path]:
    given = given.absolute()
    for path in [given] if given.is_file() else [given / name for name in _NAMES[n_chips]]:
        if path.is_file():
            yield path


def _refusal(library: Path, n_chips: int) -> str | None:
    """Why this file is not the simulator of n_chips; None if it is. Asked in another process: it may end it."""
    command = [sys.executable, "-c", _COUNT_CHIPS, str(library)]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return f"{library} does not answer; name ttsim's libttsim.so for a Wormhole chip"
    behind_pcie = asked.returncode - 64
    if behind_pcie == CHIPS_BEHIND_PCIE[n_chips]:
        return None
    if behind_pcie < 0:
        lines = (asked.stderr or asked.stdout).strip().splitlines()
        why = lines[-1] if lines else f"exit status {asked.returncode}"
        return f"{library} is not a library of ttsim that runs here ({why}); expected what docs/silicon.md names"
    machines = {1: "one Wormhole chip", 2: "a machine of another kind", 4: "a T3000"}
    what = machines.get(behind_pcie, "no Wormhole chip")
    name = "libttsim_wh.so" if n_chips == 1 else "libttsim_wh_x8.so"
    return f"{library} simulates {what}, not {n_chips} Wormhole chip{'s' * (n_chips > 1)}; name ttsim's {name}"
