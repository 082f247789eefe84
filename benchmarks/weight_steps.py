"""One step of the weight pipeline in a process of its own: its seconds, without the start, and its peak of memory.

.venv/bin/python -m benchmarks.weight_steps repack <source> <output>
.venv/bin/python -m benchmarks.weight_steps read <folder>
.venv/bin/python -m benchmarks.weight_steps cpu|mock <repacked> <cache>
"""

import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

READ_BYTES = 8 << 20


def repack_step(source: Path, output: Path) -> float:
    from models.mixtral8x7b.checkpoint.repack import repack

    return seconds_of(lambda: repack(source, output))


def read_step(folder: Path) -> float:
    """Every byte, one file after the other."""
    buffer = bytearray(READ_BYTES)

    def read() -> None:
        for file in sorted(folder.iterdir()):
            with file.open("rb", buffering=0) as opened:
                while opened.readinto(buffer):
                    pass

    return seconds_of(read)


def load_step(target: str, repacked: Path, cache: Path) -> float:
    """Builds the model with the smallest KV cache: the weights are converted, if the cache is cold, and loaded."""
    from models.mixtral8x7b.target import use_target

    use_target(target)
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.paging import KV_BLOCK
    from models.mixtral8x7b.tt.mesh import open_mesh
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import PERFORMANCE
    from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

    with open_mesh(8) as mesh:

        def load() -> None:
            weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, cache)
            Mixtral(weights, mesh, PERFORMANCE, n_blocks=1, max_context=KV_BLOCK)

        return seconds_of(load)


def seconds_of(step: Callable[[], object]) -> float:
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main() -> None:
    name, *paths = sys.argv[1:]
    folders = [Path(path) for path in paths]
    if name == "repack":
        seconds = repack_step(*folders)
    elif name == "read":
        seconds = read_step(*folders)
    else:
        seconds = load_step(name, *folders)
    peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
    assert peak is not None
    print(json.dumps({"seconds": seconds, "peak": 1024 * int(peak[1])}), flush=True)


if __name__ == "__main__":
    main()
