"""Compiles every kernel of full-size Mixtral with the real compiler: `make kernels`.

.venv/bin/python -m tests.mock.kernels

Builds the model on the mocked T3000, steps it once and takes its prefills, in every preset: ttnn compiles a kernel when
the program that it is in is built. 2 layers are enough, because a layer's programs are every layer's. Kernels stay in
the user's cache, keyed by ttnn, compiler and sources: a second run compiles what is new.
"""

import os
import re
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from models.mixtral8x7b.program import program
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import use_target
from virtual_t3000.sfpi import find_sfpi, sfpi_version
from virtual_t3000.witness import last_operation, note_operations

# Bytes that a kernel's code may take on a Wormhole: NCRISC runs from an instruction memory of its own (dev_mem_map.h of
# the wheel); what runs on one core at a time must fit into ttnn's kernel configuration buffer together.
NCRISC_MEMORY = 16 << 10
CONFIGURATION_BUFFER = 69 << 10
_PROCESSORS = ("brisc", "ncrisc", "trisc0", "trisc1", "trisc2")
# ttnn's logger: time | level | category | text (file:line). Category Op is what ttnn says of the calls that we make.
_WARNING = re.compile(r"\|\s*warning\s*\|\s*Op\s*\|\s*(.*)")
# The packet size of the fabric is a question of speed that hardware must answer: 2048- and 4096-byte pages, which go
# over the same links, get different advice.
_FOR_HARDWARE = "Fabric packet size"


@program("kernels")
def main() -> None:
    settings = Settings.from_environment()
    sfpi = settings.sfpi or find_sfpi(settings.user_cache)
    if sfpi is None:
        sys.exit("kernels: there is no kernel compiler; scripts/get_sfpi.py fetches it")
    os.environ |= {"MIXTRAL_SFPI": str(sfpi), "TT_METAL_LOGGER_LEVEL": "warning"}
    use_target("mock")
    note_operations()
    cache = Path(os.environ["TT_METAL_CACHE"])
    print(f"compiling with SFPI {sfpi_version(sfpi)} into {cache}", flush=True)
    started, before = time.perf_counter(), set(kernels(cache))
    with warnings_of_ttnn(cache.parent / "logs") as warnings:
        compile_all()
    built = {kernel.parent for kernel in kernels(cache) if kernel not in before}
    for line in sorted(set(warnings)):
        print(f"warning: {line}")
    print(largest(cache))
    seconds = time.perf_counter() - started
    print(f"{len(built)} kernels compiled in {seconds:.0f} s, {len(set(warnings))} warnings", flush=True)
    for place in (1, 2):  # what ttnn says of its own end is not for the reader
        os.dup2(os.open(os.devnull, os.O_WRONLY), place)
    sys.exit(bool(warnings))


def compile_all() -> None:
    """Runs everything; ends the process with the operation and the configuration if a kernel does not compile."""
    from models.mixtral8x7b.tt.mesh import open_mesh
    from tests.mock.program import SECTIONS

    with open_mesh(8) as mesh:
        for name, section in SECTIONS.items():
            if not name.startswith("full size, 2 layers"):
                continue
            for what, run in programs(mesh, section):
                started = time.perf_counter()
                try:
                    run()
                except RuntimeError as error:
                    operation = last_operation(Path(os.environ["TT_METAL_LOGS_PATH"]))
                    said = str(error).partition("backtrace:")[0].strip()
                    sys.exit(f"kernels: {operation} in {name}, {what}: {said}")
                print(f"{name}, {what}: {time.perf_counter() - started:.0f} s", flush=True)


def programs(mesh: Any, section: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """Of one model: each is named by what it does."""
    from tests.mock.program import ROWS, build, prompts, set_rows

    model = build(section, mesh, notes_experts=True)
    set_rows(model, section, ROWS)
    yield "decode step with sampling", model.step
    yield "decode step that notes the chosen experts", partial(model.step, model.choices)
    for lengths in section.prefills:
        prefill = partial(model.prefill, prompts(lengths))
        yield (
            f"prefill of {' + '.join(map(str, lengths))} tokens",
            lambda prefill=prefill: model.sampler.forward(prefill(), model.state.tokens),
        )


def kernels(cache: Path) -> Iterator[Path]:
    """The folder of each kernel's code for a processor, NAME/HASH/PROCESSOR; a compute kernel has three."""
    for processor in _PROCESSORS:
        for file in cache.glob(f"*/kernels/*/*/{processor}/{processor}.elf"):
            yield file.parent


def largest(cache: Path) -> str:
    """A line for each processor: its largest code, and the limit."""
    lines = []
    for processor in _PROCESSORS:
        folders = [folder for folder in kernels(cache) if folder.name == processor]
        size, folder = max((code_bytes(folder / f"{processor}.elf"), folder) for folder in folders)
        limit = NCRISC_MEMORY if processor == "ncrisc" else CONFIGURATION_BUFFER
        lines.append(f"largest code for {processor}: {size:6,} of {limit:,} bytes, {folder.parents[1].name}")
    return "\n".join(lines)


def code_bytes(elf: Path) -> int:
    """What the loadable segments of a 32-bit ELF file take in its file."""
    content = elf.read_bytes()
    offset, size, count = (*struct.unpack_from("<I", content, 28), *struct.unpack_from("<HH", content, 42))
    segments = (struct.unpack_from("<8I", content, offset + size * i) for i in range(count))
    return sum(segment[4] for segment in segments if segment[0] == 1)


@contextmanager
def warnings_of_ttnn(logs: Path) -> Iterator[list[str]]:
    """The texts of ttnn's own warnings: what it and the compiler print goes to a file meanwhile."""
    found: list[str] = []
    file = logs / f"warnings-{os.getpid()}"
    kept, opened = (os.dup(1), os.dup(2)), os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_APPEND)
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (os.fdopen(os.dup(place), "w", buffering=1) for place in (1, 2))
    for place in (1, 2):
        os.dup2(opened, place)
    try:
        yield found
    finally:
        sys.stdout, sys.stderr = before
        for place, was in zip((1, 2), kept, strict=True):
            os.dup2(was, place)
        said = [match[1] for match in map(_WARNING.search, file.read_text(errors="replace").splitlines()) if match]
        found += [text for text in said if not text.startswith(_FOR_HARDWARE)]
        file.unlink()


if __name__ == "__main__":
    main()
