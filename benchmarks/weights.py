"""The weight pipeline at the real layer shapes: repack, cold cache, warm start, beside cp, raw reads and ttnn's packer.

    make bench-weights                 2 layers: 5.8 GB of checkpoint, about 20 GB of disk while it runs, 10 minutes
    .venv/bin/python -m benchmarks.weights --layers 4 --folder /data/bench

Every step runs in a process of its own, whose start does not count. Repack and cp take turns, five times after a first
round that does not count; both sync what they wrote. Before a read or a warm start the page cache lets go of the files.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from statistics import median

from benchmarks.synthetic import GLOBAL_BYTES, LAYER_BYTES, write_synthetic
from models.mixtral8x7b.checkpoint.weights import Form
from models.mixtral8x7b.config import MIXTRAL_8X7B
from models.mixtral8x7b.durable import check_free_space

FORMS = (Form.CONSOLIDATED, Form.HF)
RUNS, WARM_RUNS = 5, 3
DISK_FACTOR = 3.7  # of the checkpoint's size: itself, its repacked form, a copy, the cache


@dataclass(frozen=True)
class Row:
    what: str
    seconds: float
    n_bytes: int
    peak: int | None = None  # bytes of resident memory, pages of files included
    beside: str = ""

    def line(self, factor: float) -> str:
        cells = (
            self.what,
            f"{self.seconds:.1f}",
            f"{self.n_bytes / self.seconds / 1e6:.0f}",
            f"{self.peak / 1e6:.0f}" if self.peak is not None else "-",
            f"{self.seconds * factor / 60:.1f}",
            self.beside,
        )
        return f"| {' | '.join(cells)} |"


def run_step(*arguments: object) -> tuple[float, int]:
    """(seconds, peak bytes) of a step of benchmarks.weight_steps."""
    command = [sys.executable, "-m", "benchmarks.weight_steps", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    values = json.loads(done.stdout.splitlines()[-1])
    return values["seconds"], values["peak"]


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def drop_from_page_cache(folder: Path) -> None:
    os.sync()
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy_and_sync(source: Path, target: Path) -> float:
    started = time.perf_counter()
    subprocess.run(["cp", "-r", source, target], check=True)
    os.sync()
    return time.perf_counter() - started


def measure_repack(source: Path, output: Path) -> list[Row]:
    copies, repacks = [], []
    copy = source.with_name("copy")
    for _ in range(1 + RUNS):
        copies.append(copy_and_sync(source, copy))
        shutil.rmtree(copy)
        shutil.rmtree(output, ignore_errors=True)
        os.sync()
        repacks.append(run_step("repack", source, output))
    cp = median(copies[1:])
    seconds = median(seconds for seconds, _ in repacks[1:])
    n_bytes = size_of(source)
    return [
        Row(f"cp and sync, {source.name}", cp, n_bytes),
        Row(f"repack, {source.name}", seconds, n_bytes, max(peak for _, peak in repacks), f"{cp / seconds:.2f} x cp"),
    ]


def measure_cache(repacked: Path, cache: Path, target: str) -> list[Row]:
    shutil.rmtree(cache, ignore_errors=True)
    drop_from_page_cache(repacked)
    seconds, peak = run_step(target, repacked, cache)
    n_bytes = size_of(repacked)
    rows = [Row(f"cold cache on {target}", seconds, n_bytes, peak, f"{n_bytes / 2e6 / seconds:.0f} M parameters/s")]
    reads, starts = [], []
    for _ in range(WARM_RUNS):
        drop_from_page_cache(cache)
        reads.append(run_step("read", cache)[0])
        drop_from_page_cache(cache)
        starts.append(run_step(target, repacked, cache))
    hot = run_step(target, repacked, cache)
    read, seconds = median(reads), median(seconds for seconds, _ in starts)
    rows += [
        Row("read of the cache's files", read, size_of(cache)),
        Row(f"warm start on {target}", seconds, size_of(cache), starts[0][1], f"{read / seconds:.2f} x read"),
        Row("the same, files in memory", hot[0], size_of(cache), hot[1], "all of it checksums"),
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2, help="of the checkpoint that is made (default: 2)")
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    arguments = parser.parse_args()
    checkpoint_bytes = arguments.layers * LAYER_BYTES + GLOBAL_BYTES
    factor = (MIXTRAL_8X7B.n_layers * LAYER_BYTES + GLOBAL_BYTES) / checkpoint_bytes
    print(
        f"{arguments.layers} layers and the embeddings, {checkpoint_bytes / 1e9:.2f} GB; {date.today()}, "
        f"{os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, medians\n\n"
        "| step | seconds | MB/s | peak MB | 32 layers, extrapolated, minutes | beside |\n"
        "|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="bench-weights.") as temporary:
        folder = Path(temporary)
        check_free_space(folder, int(DISK_FACTOR * checkpoint_bytes))
        for form in FORMS:
            write_synthetic(folder / form.value, form, arguments.layers)
            report(measure_repack(folder / form.value, folder / "repacked"), factor)
            shutil.rmtree(folder / form.value)
        for target in ("cpu", "mock"):
            report(measure_cache(folder / "repacked", folder / "cache", target), factor)
    print("\nPacking of [4096, 14336], ttnn's from_torch and ours in one process:\n", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.packing"], check=True)


def report(rows: list[Row], factor: float) -> None:
    for row in rows:
        print(row.line(factor), flush=True)


if __name__ == "__main__":
    main()
