"""The engine over the tiny model on the CPU backend, by the clock: continuous batching beside fixed groups of 32.

.venv/bin/python -m benchmarks.engine_on_cpu      # some twenty minutes on two quiet cores, most of it for arrivals

256 requests, prompts of 8 to 60 tokens, answers of geometric length (mean 64), alternating in one process. It says how
the two ways compare, and nothing about chips.
"""

import os
import platform
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from statistics import median, quantiles

from benchmarks.engine import geometric
from models.mixtral8x7b.target import use_target

use_target("cpu")

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint  # noqa: E402
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint  # noqa: E402
from models.mixtral8x7b.engine.engine import Engine, Options  # noqa: E402
from models.mixtral8x7b.engine.request import Request  # noqa: E402
from models.mixtral8x7b.engine.stream import Finish  # noqa: E402
from models.mixtral8x7b.tt.engine_model import EngineModel  # noqa: E402
from models.mixtral8x7b.tt.mesh import open_mesh  # noqa: E402
from models.mixtral8x7b.tt.model import Mixtral  # noqa: E402
from models.mixtral8x7b.tt.precision import PERFORMANCE  # noqa: E402
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights  # noqa: E402

REQUESTS, GROUP, ROUNDS = 256, 32, 2
CONTEXT, N_BLOCKS = 1024, 256


def main() -> None:
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}, "
        f"mixtral-tiny-instruct, cpu target, 8 chips, OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}\n"
    )
    requests = crowd()
    with engine() as serving:
        rate = crowds(serving, requests)
        arrivals(serving, requests, rate)


@contextmanager
def engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory() as folder, open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(tiny_checkpoint("instruct", Path(folder))), mesh, None)
        model = Mixtral(weights, mesh, PERFORMANCE, N_BLOCKS, CONTEXT)
        with Engine(EngineModel(model, trace=True, warm=False, at_once=True), Options(prefix_cache=False)) as serving:
            yield serving


def crowd() -> list[Request]:
    draw = random.Random(0)
    prompts = [[draw.randrange(3, 1000) for _ in range(draw.randint(8, 60))] for _ in range(REQUESTS)]
    return [Request(ids, min(geometric(draw), CONTEXT - len(ids))) for ids in prompts]


def crowds(serving: Engine, requests: Sequence[Request]) -> float:
    """Prints both; the requests a second of continuous batching."""
    continuous, fixed = [], []
    for _ in range(ROUNDS):
        continuous.append(_seconds(serving, [requests]))
        fixed.append(_seconds(serving, [requests[at : at + GROUP] for at in range(0, REQUESTS, GROUP)]))
    n_new = sum(request.max_new_tokens for request in requests)
    print(f"| {REQUESTS} requests at once, {n_new} new tokens | seconds, {ROUNDS} rounds | tokens/s |\n|---|---|---|")
    for name, seconds in (("continuous batching", continuous), ("fixed groups of 32", fixed)):
        print(f"| {name} | {', '.join(f'{one:.1f}' for one in seconds)} | {n_new / median(seconds):.0f} |")
    print(f"\n{median(fixed) / median(continuous):.2f} times as fast\n")
    return REQUESTS / median(continuous)


def _seconds(serving: Engine, groups: Sequence[Sequence[Request]]) -> float:
    """Of one group after the other."""
    start = time.perf_counter()
    for group in groups:
        _finished(serving, group)
    return time.perf_counter() - start


def _finished(serving: Engine, requests: Sequence[Request], waits: Sequence[float] = ()) -> list[Finish]:
    """waits: seconds before each."""
    streams = []
    for number, request in enumerate(requests):
        if waits:
            time.sleep(waits[number])
        streams.append(serving.submit(request))
    found = []
    for stream in streams:
        for _ in stream:
            pass
        assert stream.finish is not None
        found.append(stream.finish)
    return found


def arrivals(serving: Engine, requests: Sequence[Request], rate: float) -> None:
    print("| random arrivals, of a crowd | TTFT s p50 | p95 | time per token ms p50 | p95 |\n|---|---|---|---|---|")
    for load in (0.3, 0.6, 0.9):
        draw = random.Random(1)
        finishes = _finished(serving, requests[:128], [draw.expovariate(load * rate) for _ in range(128)])
        firsts = [one.first_token_s for one in finishes if one.first_token_s is not None]
        rests = [1e3 * (one.total_s - (one.first_token_s or 0)) / (one.n_new - 1) for one in finishes if one.n_new > 1]
        print(
            f"| {load:.0%} | {median(firsts):.2f} | {quantiles(firsts, n=20)[-1]:.2f} | {median(rests):.0f} | "
            f"{quantiles(rests, n=20)[-1]:.0f} |"
        )


if __name__ == "__main__":
    main()
