"""1 to 1000 T3000s, modelled: what they serve, how fast, how requests should be routed, and what a failure costs.

    python -m benchmarks.scale --sizes 1,8,64        # the tables of docs/scale.md, minutes; 1000 takes five more

The engine's own loop runs for each T3000, its passes and steps take what the cost model says. Nothing here is measured
but the time that the simulation took.
"""

import argparse
import gc
import os
import platform
import time
from collections.abc import Sequence
from datetime import date
from statistics import quantiles
from typing import NamedTuple

from models.mixtral8x7b.target import use_target

use_target("cpu")

from benchmarks.fleet import PASS_TOKENS, POLICIES, Chat, Fleet, Told  # noqa: E402
from benchmarks.modelled_chips import CONTEXT, ModelledChips, Times, modelled_times  # noqa: E402
from models.mixtral8x7b.engine.job import Job  # noqa: E402
from models.mixtral8x7b.engine.loop import Loop  # noqa: E402
from models.mixtral8x7b.engine.model import ROWS  # noqa: E402
from models.mixtral8x7b.engine.request import Request  # noqa: E402
from models.mixtral8x7b.engine.stream import Stream  # noqa: E402

PRECISION = "performance"
LENGTHS = ((128, 128), (1024, 256), (4096, 256), (16384, 512))  # tokens of a prompt and of its answer
CHAT = Chat("chat", system=512, first=512, further=128, answer=128, turns=4, think_s=3)
SIZES = (1, 8, 64, 1000)
LOADS = (2.0, 3.0, 3.5, 4.0, 4.5)  # questions/s and T3000
USUAL_LOAD = 3.5
BACK_AFTER_S = 60.0  # a supervisor's start, and 50 GB of weights from a disk of 1 GB/s
FAILED_SHARE = 0.01
MANY, POLICIES_OF_MANY = 1000, ("least connections", "affinity, bounded")  # which takes five minutes all the same


class Windows(NamedTuple):
    """Seconds, one behind the other: chats come, questions count, a failure is felt, answers end."""

    warm: float = 40.0
    measured: float = 20.0
    after: float = 15.0
    answers_end: float = 12.0

    @property
    def fails_at(self) -> float:
        return self.warm + self.measured


USUAL, OF_MANY = Windows(), Windows(20.0, 8.0, 4.0, 8.0)  # a chat takes about 30 s: those of many are younger


class Figures(NamedTuple):
    """Of questions that were asked in an interval: p50 and p99."""

    per_s: float
    first_s: tuple[float, float]
    per_token_s: tuple[float, float]
    cached: float  # share of prompt tokens


def figures(told: Sequence[Told], begin: float, end: float) -> Figures:
    asked = [one for one in told if begin <= one.asked_at < end]
    per_token = [one.per_token_s for one in asked if one.per_token_s is not None]
    cached = sum(one.n_cached for one in asked) / sum(one.n_prompt for one in asked)
    return Figures(
        len(asked) / (end - begin),
        _middle_and_worst([one.first_s for one in asked]),
        _middle_and_worst(per_token),
        cached,
    )


def _middle_and_worst(values: Sequence[float]) -> tuple[float, float]:
    cuts = quantiles(values, n=100)
    return cuts[49], cuts[98]


def saturated(times: Times, n_prompt: int, n_new: int, n_requests: int) -> float:
    """Requests that one T3000 ends in a second, when all of them are there at once and none begin alike."""
    chips = ModelledChips(times)
    loop = Loop(chips, PASS_TOKENS, prefix_cache=True, clock=lambda: chips.now)
    for number in range(n_requests):
        loop.add(Job(Request([number + 1] * n_prompt, n_new), Stream(), 0.0))
    while loop.turn():
        pass
    return n_requests / chips.now


def by_arithmetic(times: Times, n_prompt: int, n_new: int) -> float:
    """A request takes its share of passes alone, and of its steps a 32nd. But while somebody decodes passes have half
    of the time at most, as decode is owed as many steps (engine/scheduler.py): long prompts leave rows empty."""
    chips = ModelledChips(times)
    loop = Loop(chips, PASS_TOKENS, prefix_cache=False, clock=lambda: chips.now)
    n_together = max(1, PASS_TOKENS // n_prompt)
    loop.add(Job(Request([1], CONTEXT - 1), Stream(), 0.0))  # who decodes, so that passes are those of a busy server
    for number in range(n_together):
        loop.add(Job(Request([number + 2] * n_prompt, 1), Stream(), 0.0))
    while loop.stats().passes < 1 or loop.stats().n_waiting or loop.stats().n_prefilling:
        loop.turn()
    pass_s = loop.stats().pass_s / n_together
    step_s = times.step_s(ROWS, ROWS * (n_prompt + n_new // 2))
    return 1 / (pass_s + max(n_new * step_s / ROWS, min(pass_s, n_new * step_s)))


def run_fleet(times: Times, n_replicas: int, policy: str, questions_per_s: float, failing: int = 0) -> Fleet:
    """Of so many questions/s and replica."""
    windows = windows_of(n_replicas)
    fleet = Fleet(times, n_replicas, POLICIES[policy](), CHAT, n_replicas * questions_per_s / CHAT.turns)
    if failing:
        fleet.at(windows.fails_at, fleet.fail(range(failing), BACK_AFTER_S))
    fleet.run(sum(windows))
    return fleet


def windows_of(n_replicas: int) -> Windows:
    return OF_MANY if n_replicas >= MANY else USUAL


# ---------------------------------------------------------------- tables


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = ",".join(map(str, SIZES))
    parser.add_argument("--sizes", default=sizes, help=f"numbers of T3000s, with commas between them ({sizes})")
    sizes_asked = [int(size) for size in parser.parse_args().sizes.split(",")]
    gc.disable()  # the caches' books are millions of objects, none of them in a circle
    started = time.perf_counter()
    print(
        f"{date.today()}, {os.cpu_count()} x {platform.machine()}, Python {platform.python_version()}; precision "
        f"{PRECISION}. All times are modelled: passes and steps by the cost model, on a simulated clock\n"
    )
    with modelled_times(PRECISION) as times:
        print(f"KV cache of one T3000: {times.n_blocks} blocks\n")
        if 1 in sizes_asked:
            one_machine(times)
        print(
            f"The chat: {CHAT.turns} questions, {CHAT.think_s:.0f} s apart in the mean, behind a shared system prompt "
            f"of {CHAT.system} tokens; {CHAT.first} tokens, then {CHAT.further}; answers of {CHAT.answer} in the mean\n"
        )
        if 8 in sizes_asked:
            loads(times)
        fleets(times, sizes_asked)
    print(f"{time.perf_counter() - started:.0f} s of simulation")


def one_machine(times: Times) -> None:
    print("| prompt + answer | requests/s of one T3000, all at once | by arithmetic | new tokens/s |")
    print("|---|---|---|---|")
    for n_prompt, n_new in LENGTHS:
        rate, expected = saturated(times, n_prompt, n_new, 4 * ROWS), by_arithmetic(times, n_prompt, n_new)
        print(f"| {n_prompt} + {n_new} | {rate:.2f} | {expected:.2f} | {rate * n_new:.0f} |")
    print()


_COLUMNS = "questions/s | TTFT p50 | p99 | ms/token p50 | p99 | prompt from cache |"


def _cells(of: Figures) -> str:
    return (
        f"{of.per_s:.1f} | {of.first_s[0]:.2f} s | {of.first_s[1]:.2f} s | {1e3 * of.per_token_s[0]:.0f} | "
        f"{1e3 * of.per_token_s[1]:.0f} | {of.cached:.0%} |"
    )


def loads(times: Times) -> None:
    print(f"| questions/s and T3000 | of 8 T3000s, bounded affinity: {_COLUMNS}\n|---|---|---|---|---|---|---|")
    for load in LOADS:
        fleet = run_fleet(times, 8, "affinity, bounded", load)
        print(f"| {load} | {_cells(figures(fleet.told, USUAL.warm, USUAL.fails_at))}", flush=True)
    print()


def policies_of(size: int) -> Sequence[str]:
    return ["round robin"] if size == 1 else POLICIES_OF_MANY if size >= MANY else list(POLICIES)


def fleets(times: Times, sizes: Sequence[int]) -> None:
    """Every policy, and what a failure does to it."""
    print(f"| T3000s, {USUAL_LOAD} questions/s each | routing | {_COLUMNS}\n|---|---|---|---|---|---|---|---|")
    failures = []
    for size in sizes:
        n_failed = 0 if size == 1 else max(1, round(FAILED_SHARE * size))
        for policy in policies_of(size):
            fleet, windows = run_fleet(times, size, policy, USUAL_LOAD, n_failed), windows_of(size)
            before = figures(fleet.told, windows.warm, windows.fails_at)
            print(f"| {size} | {policy if size > 1 else '-'} | {_cells(before)}", flush=True)
            after = figures(fleet.told, windows.fails_at, windows.fails_at + windows.after)
            failures.append(
                f"| {size} | {n_failed} | {policy} | {len(fleet.lost)} | {fleet.delayed} | {before.first_s[1]:.2f} s | "
                f"{after.first_s[1]:.2f} s |"
            )
    print(
        f"\n| T3000s, {USUAL_LOAD} questions/s each | fail | routing | answers lost | questions sent to one that is "
        f"gone | TTFT p99 before | just after |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(row for row in failures if not row.startswith("| 1 |")) + "\n")


if __name__ == "__main__":
    main()
