"""The weight pipeline at the real layer shapes: repack, cold cache, warm start, beside cp, raw reads and ttnn's packer.

    make bench-weights                 2 layers: 5.8 GB of checkpoint, about 20 GB of disk while it runs, 10 minutes
    .venv/bin/python -m benchmarks.weights --layers 4 --folder /data/bench

Every step runs in a process of its own, whose start does not count. Repack and cp take turns, five times after a first
round that does not count; both sync what they wrote. Before a read or a warm start the page cache lets go of the files.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from models.mixtral8x7b.program import program

if TYPE_CHECKING:
    from benchmarks.pipeline import Row


@program("benchmarks")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=2, help="of the checkpoint that is made (default: 2)")
    parser.add_argument("--folder", type=Path, help="where there is room (default: the system's temporary folder)")
    arguments = parser.parse_args()
    from benchmarks.pipeline import DISK_FACTOR, FORMS, measure_cache, measure_repack
    from benchmarks.synthetic import GLOBAL_BYTES, LAYER_BYTES, write_synthetic
    from models.mixtral8x7b.config import MIXTRAL_8X7B
    from models.mixtral8x7b.durable import check_free_space

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
            _report(measure_repack(folder / form.value, folder / "repacked"), factor)
            shutil.rmtree(folder / form.value)
        for target in ("cpu", "mock"):
            _report(measure_cache(folder / "repacked", folder / "cache", target), factor)
    print("\nPacking of [4096, 14336], ttnn's from_torch and ours in one process:\n", flush=True)
    subprocess.run([sys.executable, "-m", "benchmarks.packing"], check=True)


def _report(rows: "list[Row]", factor: float) -> None:
    for row in rows:
        print(row.line(factor), flush=True)


if __name__ == "__main__":
    main()
