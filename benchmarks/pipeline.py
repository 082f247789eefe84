"""Measures the steps of the weight pipeline, each in a process of its own: see `weights.py`."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from models.mixtral8x7b.checkpoint.weights import Form

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
