"""The engine without a model: the host's part of a step, and how many steps and passes a crowd of requests takes.

    make bench-engine

A stand-in for the model draws token 0. The first table is of this machine's clock. In all others time is modelled: a
decode step takes 1, a prefill pass of r rows 1 + r / 512.
"""

import os
import platform
import random
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import ceil, log
from statistics import median, quantiles
from threading import Thread
from typing import Any

from models.mixtral8x7b.engine.engine import Engine
from models.mixtral8x7b.engine.job import Job
from models.mixtral8x7b.engine.loop import Loop
from models.mixtral8x7b.engine.model import ROWS, Choices, ExpertSizes, Row, TakeLogits
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import Finish, Stream
from models.mixtral8x7b.packing import Pass

PASS_TOKENS = 2048
MEAN_ANSWER = 64


def main() -> None:
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}; a stand-in for "
        "the model; time is modelled but for the host's: a step takes 1, a pass of r rows 1 + r / 512\n"
    )
    host_part()
    requests = crowd(256, seed=0)
    rate = continuous_and_fixed(requests)
    arrivals(requests, rate)
    conversations()


class NoModel:
    """Draws token 0 always, and moves a clock by what its calls would take."""

    max_context, vocab_size, largest_pass = 32768, 32000, 16384
    experts: ExpertSizes | None = None

    def __init__(self, n_blocks: int = 9000) -> None:
        self.n_blocks, self.now = n_blocks, 0.0

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        pass

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        self.now += 1 + of.size / 512
        return [0] * ROWS

    def step(self) -> None:
        self.now += 1

    def read_tokens(self) -> list[int]:
        return [0] * ROWS

    def read_logits(self) -> Any:
        raise NotImplementedError("no row here is drawn on the host")

    def read_experts(self, rows: Collection[int]) -> dict[int, Choices]:
        raise NotImplementedError("no step here notes experts")

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        raise NotImplementedError("no row here is drawn on the host")


# ---------------------------------------------------------------- the host's part of a step


class Sleeper(NoModel):
    """Steps of real time, in which this process may do other things; notes what it had to wait for between them."""

    def __init__(self, step_s: float) -> None:
        super().__init__()
        self._step_s, self._read_at = step_s, time.perf_counter()
        self.gaps_s: list[float] = []

    def step(self) -> None:
        self.gaps_s.append(time.perf_counter() - self._read_at)

    def read_tokens(self) -> list[int]:
        if self._step_s:
            time.sleep(self._step_s)
        self._read_at = time.perf_counter()
        return [0] * ROWS


def host_part() -> None:
    """32 rows that decode, of 500 to 1740 tokens; a new one comes for each that ends, every few steps."""
    print("| host's part of a step, 32 rows | median ms | p95 ms |\n|---|---|---|")
    loop = Loop(Sleeper(0), PASS_TOKENS, prefix_cache=True)
    turns_s: list[float] = []
    for number in range(3 * ROWS):
        loop.add(Job(Request([number % 100] * (500 + 40 * (number % ROWS)), 600), Stream(), 0.0))
    while loop.n_waiting or not turns_s:
        steps = loop.stats().steps
        start = time.perf_counter()
        loop.turn()
        if loop.stats().steps > steps and loop.stats().n_decoding == ROWS:
            turns_s.append(time.perf_counter() - start)
    _print_ms("all of it, in one thread, without readers", turns_s)
    model = Sleeper(0.01)
    with Engine(model) as engine:
        streams = [engine.submit(Request([number] * 1000, 400)) for number in range(ROWS)]
        readers = [Thread(target=lambda stream=stream: sum(token.id for token in stream)) for stream in streams]
        cpu_s = time.process_time()
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        cpu_s = time.process_time() - cpu_s
    _print_ms("between steps of 10 ms, with 32 threads that read", model.gaps_s)
    print(f"| CPU time of engine and readers, for each step | {1e3 * cpu_s / len(model.gaps_s):.3f} (mean) | |\n")


def _print_ms(what: str, seconds: list[float]) -> None:
    print(f"| {what} | {1e3 * median(seconds):.3f} | {1e3 * quantiles(seconds, n=20)[-1]:.3f} |")


# ---------------------------------------------------------------- a crowd


@dataclass
class Served:
    """Requests that were served by one loop, over modelled time."""

    model: NoModel
    loop: Loop = field(init=False)
    jobs: list[Job] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = Loop(self.model, PASS_TOKENS, prefix_cache=True, clock=lambda: self.model.now)

    def add(self, request: Request) -> Job:
        self.jobs.append(Job(request, Stream(), self.model.now))
        self.loop.add(self.jobs[-1])
        return self.jobs[-1]

    def all(self, requests: Iterable[Request]) -> None:
        """They come at once, and all are done."""
        for request in requests:
            self.add(request)
        while self.loop.turn():
            pass

    @property
    def stats(self) -> Stats:
        return self.loop.stats()

    def finishes(self) -> list[Finish]:
        return [_finish(job.stream) for job in self.jobs]


def _finish(stream: Stream) -> Finish:
    for _ in stream:
        pass
    assert stream.finish is not None
    return stream.finish


def crowd(n_requests: int, seed: int) -> list[Request]:
    """Prompts of 20 to 300 tokens, none like another, and answers of geometric length."""
    draw = random.Random(seed)
    return [
        Request([draw.randrange(32000) for _ in range(draw.randint(20, 300))], geometric(draw))
        for _ in range(n_requests)
    ]


def geometric(draw: random.Random) -> int:
    return max(1, ceil(log(1 - draw.random()) / log(1 - 1 / MEAN_ANSWER)))


def continuous_and_fixed(requests: list[Request]) -> float:
    """Prints both; the requests that continuous batching serves in a unit of time."""
    print(
        f"| {len(requests)} requests at once | steps | rows a step | passes | rows of passes | time | tokens / time |"
    )
    print("|---|---|---|---|---|---|---|")
    continuous, fixed = Served(NoModel()), Served(NoModel())
    continuous.all(requests)
    _print_crowd("continuous batching", continuous)
    for first in range(0, len(requests), ROWS):
        fixed.all(requests[first : first + ROWS])
    _print_crowd("fixed groups of 32", fixed)
    steps, times = fixed.stats.steps / continuous.stats.steps, fixed.model.now / continuous.model.now
    print(f"\ncontinuous batching needs {steps:.2f} times fewer steps and {times:.2f} times less time\n")
    return len(requests) / continuous.model.now


def _print_crowd(what: str, served: Served) -> None:
    stats, now = served.stats, served.model.now
    print(
        f"| {what} | {stats.steps} | {stats.step_tokens / stats.steps:.1f} | {stats.passes} | {stats.pass_rows} | "
        f"{now:.0f} | {stats.new_tokens / now:.1f} |"
    )


def arrivals(requests: list[Request], rate: float) -> None:
    print("| random arrivals, of what a crowd has | TTFT p50 | p95 | time per token p50 | p95 | rows a step |")
    print("|---|---|---|---|---|---|")
    for load in (0.3, 0.6, 0.9):
        draw, when = random.Random(1), 0.0
        served = Served(NoModel())
        for request in requests * 4:
            when += draw.expovariate(load * rate)
            while served.model.now < when:
                if not served.loop.turn():
                    served.model.now = when
            served.add(request)
        served.all([])
        finishes = served.finishes()
        firsts = [one.first_token_s for one in finishes if one.first_token_s is not None]
        rests = [(one.total_s - (one.first_token_s or 0)) / (one.n_new - 1) for one in finishes if one.n_new > 1]
        print(
            f"| {load:.0%} | {median(firsts):.1f} | {quantiles(firsts, n=20)[-1]:.1f} | {median(rests):.2f} | "
            f"{quantiles(rests, n=20)[-1]:.2f} | {served.stats.step_tokens / served.stats.steps:.1f} |"
        )
    print()


# ---------------------------------------------------------------- the prefix cache

USERS, TURNS = 64, 6


def conversations() -> None:
    """A system prompt of 400 tokens, turns of 60 tokens and answers of 64; the next turn comes 200 later."""
    print(
        f"| {USERS} conversations of {TURNS} turns, KV tokens | hit tokens | of prompts | preempted | passes | time |"
    )
    print("|---|---|---|---|---|---|")
    for n_blocks in (9000, 600, 300, 100):
        served, draw = Served(NoModel(n_blocks)), random.Random(2)
        system = [draw.randrange(32000) for _ in range(400)]
        due = sorted((draw.uniform(0, 400), user, 0) for user in range(USERS))
        said = {user: list(system) for user in range(USERS)}
        running: dict[int, tuple[Job, int]] = {}
        while due or running:
            while due and due[0][0] <= served.model.now:
                _, user, turn = due.pop(0)
                said[user] += [draw.randrange(32000) for _ in range(60)]
                running[user] = served.add(Request(said[user], 64)), turn
            if not served.loop.turn() and due:
                served.model.now = max(served.model.now, due[0][0])
            for user, (job, turn) in list(running.items()):
                if job.over:
                    del running[user]
                    said[user] += [0] * 64
                    if turn + 1 < TURNS:
                        due = sorted([*due, (served.model.now + 200, user, turn + 1)])
        stats = served.stats
        print(
            f"| {64 * n_blocks} | {stats.cached_tokens} | {stats.cached_tokens / stats.prompt_tokens:.0%} | "
            f"{stats.preemptions} | {stats.passes} | {served.model.now:.0f} |"
        )


if __name__ == "__main__":
    main()
