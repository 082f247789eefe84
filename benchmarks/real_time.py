"""How long the CPU target takes, beside the reference and Hugging Face's transformers on the same machine.

    make bench      # under 20 minutes on two quiet cores

Two models: the tiny checkpoint, and one of random weights (dim 1024, 4 layers). The contestants take turns in ROUNDS
rounds, or fewer where these would take long (bfloat16 does, on a machine that has no instructions for it); a figure is
the median over the rounds, beside the slowest and the fastest. A step of the CPU target always has
32 rows, whatever the batch. Nothing here is about chips.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median

from models.mixtral8x7b.target import use_target

use_target("cpu")

import torch  # noqa: E402

from benchmarks.contestants import Contestant, CpuTarget, HuggingFace, Reference  # noqa: E402
from benchmarks.synthetic import write_synthetic  # noqa: E402
from models.mixtral8x7b.checkpoint.repack import repack  # noqa: E402
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint  # noqa: E402
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint  # noqa: E402
from models.mixtral8x7b.checkpoint.weights import Form  # noqa: E402
from models.mixtral8x7b.config import MixtralConfig, MoeConfig  # noqa: E402
from models.mixtral8x7b.reference.model import Transformer  # noqa: E402

MIDDLE = MixtralConfig(1024, 4, 64, 2048, 16, 8, 1e-5, 2048, MoeConfig(8, 2), max_seq_len=8192)
BATCHES, CONTEXT = (1, 8, 32), 128
PROMPTS = (128, 1024, 4096)
ROUNDS = 5
MOST_S = 60  # for a row: then no further round begins
STEPS = 5  # a round's figure for decode is the mean of these, after one that does not count


def main() -> None:
    print(f"{provenance()}; medians of {ROUNDS} rounds (slowest to fastest)", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_synthetic(Path(folder) / "random", Form.CONSOLIDATED, MIDDLE.n_layers, MIDDLE)
        repack(Path(folder) / "random", Path(folder) / "middle")
        models = {
            "mixtral-tiny": tiny_checkpoint("base", Path(folder)),
            "random weights, dim 1024, 4 layers": Path(folder) / "middle",
        }
        for name, checkpoint in models.items():
            print(f"\n## {name}\n", flush=True)
            with contestants(checkpoint) as of_model:
                compare(of_model)


def provenance() -> str:
    return (
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, torch "
        f"{torch.__version__}, {torch.get_num_threads()} threads, OMP_NUM_THREADS="
        f"{os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )


@contextmanager
def contestants(checkpoint: Path) -> Iterator[list[Contestant]]:
    model = Transformer.from_repacked(checkpoint)
    with CpuTarget.opened(RepackedCheckpoint(checkpoint), max(PROMPTS), CONTEXT + 64) as ours:
        yield [ours, Reference(model), HuggingFace(model, torch.float32), HuggingFace(model, torch.bfloat16)]


def compare(of_model: Sequence[Contestant]) -> None:
    names = [one.name for one in of_model]
    print(f"| tokens/s | {' | '.join(names)} | first / third |\n|---{'|---' * (len(names) + 1)}|", flush=True)
    for batch in BATCHES:
        decode(of_model, batch, "")
    with somebody_else():
        decode(of_model, BATCHES[-1], ", beside a process that spins")
    for length in PROMPTS:
        ids = [3 + place % 1000 for place in range(length)]  # in both vocabularies
        row(f"prefill, {length} tokens", length, [partial(one.prefill, ids) for one in of_model], calls=1)


def decode(of_model: Sequence[Contestant], batch: int, where: str) -> None:
    for one in of_model:
        one.start(batch, CONTEXT)
    row(f"decode, batch {batch}{where}", batch, [one.step for one in of_model], STEPS)


def row(name: str, tokens: int, runs: Sequence[Callable[[], object]], calls: int) -> None:
    """Prints the tokens a second of each, who take turns; the last column is how the first compares with float32."""
    start = time.perf_counter()
    for run in runs:
        if timed(run, calls=1) < 1:
            run()
    seconds = [[timed(run, calls) for run in runs]]
    while len(seconds) < ROUNDS and time.perf_counter() - start < MOST_S:
        seconds.append([timed(run, calls) for run in runs])
    cells = []
    for of_one in zip(*seconds, strict=True):
        slow, middle, fast = (tokens / pick(of_one) for pick in (max, median, min))
        cells.append(f"{middle:,.1f} ({slow:,.1f} to {fast:,.1f})")
    ours, _, theirs, _ = (median(of_one) for of_one in zip(*seconds, strict=True))
    print(f"| {name} | {' | '.join(cells)} | {theirs / ours:.2f} |", flush=True)


def timed(run: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


@contextmanager
def somebody_else() -> Iterator[None]:
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


if __name__ == "__main__":
    main()
