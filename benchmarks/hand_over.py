"""What it takes to ask a stage in another process of this machine for nothing, by the clock: a residual there and back.

    python -m benchmarks.hand_over          # as processes, and as Ray actors where Ray is installed

Between two stages the residual goes once from a stage and once to one.
"""

import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.util import find_spec
from statistics import quantiles
from typing import Any

import torch

from models.mixtral8x7b.pipeline.group import StageHandle
from models.mixtral8x7b.pipeline.stage_process import StageProcess

DIM, CALLS = 6144, 100  # of Mixtral 8x22B
SENT: dict[str, Any] = {
    "32 ids": list(range(32)),
    f"[32, {DIM}] bf16": torch.zeros(32, DIM, dtype=torch.bfloat16),
    f"[2048, {DIM}] bf16": torch.zeros(2048, DIM, dtype=torch.bfloat16),
}


class Echo:
    def step(self, handed: Any) -> Any:
        return handed


@contextmanager
def echo() -> Iterator[Echo]:
    yield Echo()


def took_ms(stage: StageHandle, sent: Any) -> Sequence[float]:
    """The deciles of CALLS calls."""
    stage.call("step", sent)
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        stage.call("step", sent)
        times.append(1e3 * (time.perf_counter() - start))
    return quantiles(times, n=10)


def rows(kind: str, stage: Any) -> None:
    for what, sent in SENT.items():
        deciles = took_ms(stage, sent)
        print(f"| {kind} | {what} | {deciles[4]:.2f} | {deciles[8]:.2f} |", flush=True)
    stage.close()


def main() -> None:
    print(f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}\n")
    print("| stage as | there and back | ms, p50 | p90 |\n|---|---|---|---|")
    rows("process", StageProcess("stage 1 of 1", echo))
    if find_spec("ray"):
        import ray

        from models.mixtral8x7b.pipeline.ray_stage import RESOURCE, RayStage

        path = {"PYTHONPATH": os.getcwd()}
        ray.init("local", resources={RESOURCE: 1}, include_dashboard=False, runtime_env={"env_vars": path})
        rows("Ray actor", RayStage("stage 1 of 1", echo))


if __name__ == "__main__":
    from benchmarks import hand_over  # by its own name: the other process must find `echo`

    hand_over.main()
