"""Runs an SFPI compiler: which version it is, and whether it builds a kernel's kind of program."""

import re
import subprocess
from pathlib import Path

from virtual_t3000.sfpi_wheel import SfpiError

COMPILER = Path("compiler/bin/riscv-tt-elf-g++")
# What ttnn builds with: one processor of a core without the vector unit, one with it, and link-time optimization.
_CPUS = ("tt-wh", "tt-wh-tensix")
_OPTIONS = ("-mabi=ilp32", "-std=c++17", "-O2", "-flto=1", "-ffast-math", "-fno-exceptions", "-fno-rtti")
_PROBE = """
#include <array>
#include <cstdint>

volatile std::uint32_t words[4];

#ifdef __riscv_xtttensixwh
namespace ckernel { volatile std::uint32_t *instrn_buffer; }
#include <sfpi.h>
void square() { sfpi::dst_reg[0] = sfpi::vFloat(sfpi::dst_reg[0]) * sfpi::vFloat(sfpi::dst_reg[0]); }
#else
void square() {}
#endif

int main() {
    std::array<std::uint32_t, 4> thirds{};
    for (std::uint32_t i = 0; i < thirds.size(); i++) thirds[i] = words[i] / 3;
    for (std::uint32_t i = 0; i < thirds.size(); i++) words[i] = thirds[i];
    square();
    return 0;
}
"""
_ANOTHER = "set MIXTRAL_SFPI to another one, or fetch one with scripts/get_sfpi.py --again"
_MISSING = re.compile(r"error while loading shared libraries: (\S+):")


def sfpi_version(folder: Path) -> str:
    """The compiler's own version, such as 7.87.0. Raises SfpiError if it does not run or is another compiler."""
    said = introduction(folder)
    found = re.search(r"tenstorrent/sfpi:([\w.+-]+)", said)
    if found is None:
        first = (said.splitlines() or ["nothing"])[0]
        raise SfpiError(f"{folder / COMPILER} is no SFPI compiler: it calls itself {first!r}; {_ANOTHER}")
    return found[1]


def introduction(folder: Path) -> str:
    """What the compiler says to --version. Raises SfpiError if there is none or it does not run."""
    if not (folder / COMPILER).is_file():
        raise SfpiError(f"{folder} holds no SFPI compiler ({COMPILER}); {_ANOTHER}")
    return _run(folder, "--version")


def prove(folder: Path, scratch: Path) -> None:
    """Compiles and links a small program for Wormhole in the scratch folder. Raises SfpiError if that fails."""
    source = scratch / "probe.cpp"
    source.write_text(_PROBE)
    for cpu in _CPUS:
        program = scratch / f"{cpu}.elf"
        _run(folder, f"-mcpu={cpu}", *_OPTIONS, f"-I{folder / 'include'}", str(source), "-o", str(program))
        if not program.is_file() or program.read_bytes()[:4] != b"\x7fELF":
            raise SfpiError(f"{folder / COMPILER} made no ELF file of a small program for -mcpu={cpu}; {_ANOTHER}")


def _run(folder: Path, *arguments: str) -> str:
    compiler = folder / COMPILER
    try:
        ended = subprocess.run(
            [compiler, *arguments], capture_output=True, text=True, errors="replace", timeout=120, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        why = error.strerror if isinstance(error, OSError) else "it does not end"
        raise SfpiError(f"{compiler} does not run ({why}); {_ANOTHER}") from error
    if ended.returncode == 0:
        return ended.stdout
    missing = _MISSING.search(ended.stderr)
    if missing is not None:
        raise SfpiError(
            f"the SFPI compiler needs {missing[1]}, which this system lacks; Debian, Ubuntu: apt install libmpc3 "
            "libmpfr6 libgmp10 libzstd1; Fedora: dnf install libmpc mpfr gmp libzstd"
        )
    lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
    telling = next((line for line in lines if "error" in line), (lines or ["it said nothing"])[-1])
    raise SfpiError(f"{compiler} {arguments[0]} failed with exit status {ended.returncode}: {telling}; {_ANOTHER}")
