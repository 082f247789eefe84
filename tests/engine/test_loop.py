"""Whoever else is there, a request gets the tokens that it gets alone; and nothing is left behind."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.mixtral8x7b.engine.model import ROWS, TakeLogits
from models.mixtral8x7b.engine.places import GROW_TOGETHER
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.scheduler import (
    GATHER_STEPS,
    MOST_PASSED,
    PATIENCE,
    most_passes_between_turns,
    most_tenures,
    most_turns,
)
from models.mixtral8x7b.packing import Pass
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.sampling import SamplingParams
from tests.engine.driver import STEP_S, Driver, pass_seconds
from tests.engine.stub_model import VOCAB, StubModel, answer

IDS = [random.Random(0).randrange(VOCAB) for _ in range(20000)]


def prompt(length: int, first: int = 0) -> list[int]:
    """Another one for each `first`."""
    return [first, *IDS[: length - 1]]


# ---------------------------------------------------------------- any schedule


@dataclass
class Arrival:
    turn: int
    request: Request
    cancelled_after: int | None  # turns


arrivals = st.builds(
    lambda turn, beginning, own, n_new, seed, stops, deadline_s, salt, scores, cancelled_after: Arrival(
        turn,
        Request(
            IDS[:beginning] + own,
            n_new,
            SamplingParams(seed=seed),
            range(stops),
            deadline_s,
            salt,
            take_prompt_logits=(lambda *logits: None) if scores else None,
        ),
        cancelled_after,
    ),
    turn=st.integers(0, 60),
    beginning=st.sampled_from([0, 1, 64, 127, 128, 129, 200, 256, 700, 1500]),
    own=st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=80),
    n_new=st.integers(1, 150),
    seed=st.integers(0, 3),
    stops=st.sampled_from([0, 0, 10, 100]),
    deadline_s=st.one_of(st.none(), st.none(), st.floats(0.1, 200)),
    salt=st.sampled_from(["", "", "a"]),
    scores=st.sampled_from([False, False, True]),
    cancelled_after=st.one_of(st.none(), st.none(), st.integers(0, 80)),
)


@settings(max_examples=120, deadline=None)
@given(
    st.lists(arrivals, min_size=1, max_size=45),
    st.sampled_from([28, 40, 100, 800]),
    st.sampled_from([256, 512, 2048]),
    st.booleans(),
)
def test_any_schedule(schedule: list[Arrival], n_blocks: int, pass_tokens: int, prefix_cache: bool) -> None:
    driver = Driver(n_blocks, pass_tokens, prefix_cache, largest_pass=2048)
    jobs, last = {}, max(one.turn + (one.cancelled_after or 0) for one in schedule)
    for turn in range(last + 1):
        for number, one in enumerate(schedule):
            if one.turn == turn:
                jobs[number] = driver.add(one.request)
            if one.cancelled_after is not None and one.turn + one.cancelled_after == turn:
                driver.loop.cancel(jobs[number])
        driver.loop.turn()
    driver.run()
    for number, one in enumerate(schedule):
        expected, got, finish = answer(one.request), driver.tokens(jobs[number]), driver.finish(jobs[number])
        if finish.reason in ("stop", "length"):
            assert got == expected
            assert (finish.reason == "stop") == (got[-1] in one.request.stop_ids)
        else:
            assert finish.reason != "cancelled" or one.cancelled_after is not None
            assert finish.reason != "deadline" or finish.total_s >= one.request.deadline_s
            assert got == expected[: len(got)]
        if one.cancelled_after is None and one.request.deadline_s is None:
            assert finish.reason in ("stop", "length")
        assert not finish.n_cached or (prefix_cache and one.request.take_prompt_logits is None)
    driver.check_idle()


# ---------------------------------------------------------------- latency


def test_decode_waits_for_one_pass_of_its_bound_and_then_has_as_much_time() -> None:
    driver = Driver(2000, pass_tokens=512)
    driver.add(Request([1], 400))
    driver.loop.turn()
    for first in range(20):
        driver.add(Request(prompt(3000, first), 5))
    driver.run()
    owed = 0.0
    decoding = driver.calls[1 : driver.calls.index(("step", 1), 300)]
    assert ("pass", 512) in decoding
    for what, rows in decoding:
        if what == "pass":
            assert owed <= 0, "two passes without decode's share"
            assert rows <= 512
            owed += pass_seconds(rows)
        else:
            owed -= STEP_S
    assert any(what == "step" for what, _ in decoding)


def test_a_whole_pass_where_nobody_decodes() -> None:
    driver = Driver(2000, pass_tokens=256)
    driver.add(Request(prompt(16000), 1))
    driver.run()
    assert driver.calls == [("pass", 16384)]


def test_a_short_prompt_passes_a_long_one_that_is_being_prefilled() -> None:
    driver = Driver(2000, pass_tokens=256)
    driver.add(Request([1], 2000))
    driver.loop.turn()
    long = driver.add(Request(prompt(10000), 1))
    for _ in range(5):
        driver.loop.turn()
    short = driver.add(Request(prompt(100), 1))
    driver.run()
    passes_of_long = -(-10000 // 256)
    assert driver.finish(long).total_s > passes_of_long * pass_seconds(256)
    assert driver.finish(short).total_s <= 2 * (2 * pass_seconds(256) + STEP_S)


def test_a_long_prompt_has_its_turns_among_short_ones_without_end_and_no_more() -> None:
    first_ids: list[int] = []

    class Model(StubModel):
        def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
            first_ids.extend(piece.prompt.ids[0] for piece in of.pieces)
            return super().prefill(of, take_logits)

    driver = Driver(2000, pass_tokens=256, model_type=Model)
    driver.add(Request([1], 5000))
    driver.loop.turn()
    long = driver.add(Request(prompt(2048, first=7), 1))
    while not long.over:
        while driver.loop.stats().n_prefilling + driver.loop.n_waiting < 3:
            driver.add(Request(prompt(250, first=2), 1))  # as much as a pass has
        driver.loop.turn()
    turns = [number for number, first in enumerate(first_ids) if first == 7]
    assert [after - before for before, after in pairwise(turns)] == [PATIENCE + 1] * 7


def finish_bound(requests: Sequence[Request], largest_pass: int) -> float:
    """T of scheduler.py, of the longest request, by the driver's clock."""
    longest_pass = pass_seconds(largest_pass)
    return max(
        most_turns(len(one.ids) + one.max_new_tokens, largest_pass)
        * most_passes_between_turns()
        * (2 * longest_pass + GATHER_STEPS * STEP_S)
        + one.max_new_tokens * (longest_pass + STEP_S)
        for one in requests
    )


@settings(max_examples=15, deadline=None)
@given(
    n_blocks=st.sampled_from([45, 60, 200]),
    k=st.integers(0, 5),
    flood=st.lists(st.tuples(st.integers(1, 2000), st.integers(1, 120)), min_size=1, max_size=10),
    each_turn=st.integers(1, 3),
    length=st.integers(1, 2500),
    n_new=st.integers(1, 200),
)
def test_no_request_starves(
    n_blocks: int, k: int, flood: list[tuple[int, int]], each_turn: int, length: int, n_new: int
) -> None:
    """Whatever keeps coming after it, a request with k older ones is done within (k + 1) * most_tenures() * T."""
    driver = Driver(n_blocks, 512, prefix_cache=True, largest_pass=512)
    for n in range(k):
        driver.add(Request(prompt(flood[n % len(flood)][0]), flood[n % len(flood)][1]))
    wanted = driver.add(Request(prompt(length), n_new))
    sent = 0
    while not wanted.over:
        for _ in range(each_turn if driver.loop.n_waiting < 60 else 0):
            n_prompt, n_answer = flood[sent % len(flood)]
            driver.add(Request(prompt(n_prompt, sent % VOCAB), n_answer))
            sent += 1
        assert driver.loop.turn()
        assert wanted.passes < most_passes_between_turns()
    done_after = driver.now
    started_before = [job for job in driver.jobs[k + 1 :] if job.started is not None and job.started < wanted.started]
    assert len(started_before) <= MOST_PASSED
    T = finish_bound([job.request for job in driver.jobs], 512)
    assert done_after <= (k + 1) * most_tenures() * T
    for job in driver.jobs:
        driver.loop.cancel(job)
    driver.run()
    assert driver.tokens(wanted) == answer(wanted.request)
    for job in driver.jobs:
        assert driver.tokens(job) == answer(job.request)[: driver.finish(job).n_new]
    driver.check_idle()


def test_one_that_does_not_fit_is_passed_by_so_many() -> None:
    driver = Driver(100)
    driver.add(Request(prompt(30 * KV_BLOCK), 40))
    driver.loop.turn()
    big = driver.add(Request(prompt(90 * KV_BLOCK), 1))
    small = [driver.add(Request([n], 10)) for n in range(60)]
    driver.run()
    assert sum(job.started < big.started for job in small) == MOST_PASSED
    driver.check_idle()


# ---------------------------------------------------------------- blocks


def test_who_came_last_gives_its_blocks_back_and_its_reader_sees_nothing_of_it() -> None:
    driver = Driver(n_blocks=20)
    jobs = [driver.add(Request(prompt(4 * KV_BLOCK - 1, n), 300, SamplingParams(seed=n))) for n in range(4)]
    rows_seen: dict[int, list[int | None]] = {n: [] for n in range(4)}
    while driver.loop.turn():
        for n, job in enumerate(jobs):
            rows_seen[n].append(job.row)
        waiting = [job.number for job in driver.loop._places.waiting]
        assert waiting == sorted(waiting), "who gave its row back is no further behind than before"
    assert driver.loop.stats().preemptions > 0
    first = rows_seen[0]
    assert None not in first[: len(first) - first[::-1].index(0)], "the oldest never gives its row back"
    for n, job in enumerate(jobs):
        assert driver.tokens(job) == answer(job.request)
        assert driver.finish(job).n_new == 300
        assert n == 0 or driver.finish(job).total_s >= driver.finish(jobs[n - 1]).total_s
    driver.check_idle()


@pytest.mark.parametrize("prefix_cache", [False, True])
def test_one_that_fills_the_whole_cache_beside_others(prefix_cache: bool) -> None:
    driver = Driver(n_blocks=12, prefix_cache=prefix_cache)
    largest = Request(prompt(5 * KV_BLOCK), 7 * KV_BLOCK + 1)
    assert blocks_for(largest.most_positions) == 12
    jobs = [driver.add(largest), *(driver.add(Request(prompt(100, n), 400)) for n in range(40)), driver.add(largest)]
    driver.run()
    assert driver.loop.stats().preemptions > 0
    assert all(driver.tokens(job) == answer(job.request) for job in jobs)
    driver.check_idle()


def test_twins_that_share_all_their_blocks_do_not_hold_each_other_up() -> None:
    driver = Driver(n_blocks=9, prefix_cache=True)
    jobs = [driver.add(Request(prompt(256), 150, SamplingParams(seed=n))) for n in range(8)]
    driver.run()
    assert all(driver.tokens(job) == answer(job.request) for job in jobs)
    driver.check_idle()


def test_rows_that_grow_are_written_together() -> None:
    written = []

    class Model(StubModel):
        def set_rows(self, rows: Any) -> None:
            written.append(len(rows))
            super().set_rows(rows)

    driver = Driver(4000, model_type=Model)
    for n in range(ROWS):
        driver.add(Request(prompt(1 + 7 * n, n), 640))
    driver.run()
    assert len(written) <= 2 + 640 / GROW_TOGETHER + 2
    assert all(driver.tokens(job) == answer(job.request) for job in driver.jobs)


# ---------------------------------------------------------------- prefix cache


class Hit(NamedTuple):
    first: int  # length of the prompt whose blocks are kept
    second: int  # of one that begins like it
    expected: int


@pytest.mark.parametrize(
    "hit",
    [
        Hit(1000, 1000, 896),  # 15 blocks are kept, 14 are whole units of 128
        Hit(1024, 1024, 896),  # a token at least is left to compute
        Hit(1024, 1025, 1024),
        Hit(1024, 3000, 1024),
        Hit(127, 3000, 0),
        Hit(128, 3000, 128),
        Hit(128, 128, 0),
        Hit(128, 129, 128),
    ],
)
def test_a_hit_is_rounded_down_and_leaves_a_token(hit: Hit) -> None:
    driver = Driver(200, prefix_cache=True)
    driver.add(Request(prompt(hit.first), 1))
    driver.run()
    second = driver.add(Request(prompt(hit.second), 5))
    driver.run()
    assert driver.finish(second).n_cached == hit.expected
    assert driver.tokens(second) == answer(second.request)
    stats = driver.loop.stats()
    assert stats.cached_tokens == hit.expected
    assert stats.prefilled_tokens == hit.first + hit.second - hit.expected


def test_a_second_turn_finds_the_answer_of_the_first() -> None:
    driver = Driver(200, prefix_cache=True)
    first = driver.add(Request(prompt(100), 300))
    driver.run()
    second = driver.add(Request([*prompt(100), *driver.tokens(first), 5, 6, 7], 5))
    driver.run()
    assert driver.finish(second).n_cached == 384
    assert driver.tokens(second) == answer(second.request)


@pytest.mark.parametrize(
    ("change", "cached"), [({}, 896), ({"salt": "x"}, 0), ({"take_prompt_logits": lambda *_: None}, 0)]
)
def test_who_reads_the_cache(change: dict[str, Any], cached: int) -> None:
    driver = Driver(200, prefix_cache=True)
    driver.add(Request(prompt(1000), 1))
    driver.run()
    second = driver.add(Request(prompt(1000), 5, **change))
    driver.run()
    assert driver.finish(second).n_cached == cached
    assert driver.tokens(second) == answer(second.request)


def test_a_prompts_logits_are_told_whoever_shares_its_passes_and_blocks() -> None:
    """The younger of two is preempted in its answer: the prompt's positions are told again, the answer's never."""
    told: dict[int, list[np.ndarray]] = {}

    def take(start: int, logits: np.ndarray) -> None:
        for place, row in enumerate(logits, start=start):
            told.setdefault(place, []).append(row)

    ids, driver = prompt(100, first=9), Driver(5, prefix_cache=True)
    driver.add(Request(prompt(60), 150))
    mine = driver.add(Request(ids, 120, take_prompt_logits=take))
    driver.run()
    assert driver.loop.stats().preemptions == 1
    assert driver.tokens(mine) == answer(mine.request)
    assert sorted(told) == list(range(100))
    for place, rows in told.items():
        assert len(rows) == 2
        assert all((row == driver.model.logits_after(ids[: place + 1])).all() for row in rows)


def test_without_the_cache_nothing_is_kept() -> None:
    driver = Driver(200, prefix_cache=False)
    jobs = [driver.add(Request(prompt(1000), 1)) for _ in range(2) if driver.run() is None]
    driver.run()
    assert [driver.finish(job).n_cached for job in jobs] == [0, 0]
    assert driver.loop.stats().n_cached_blocks == 0


def test_requests_that_begin_alike_compute_the_beginning_once() -> None:
    driver = Driver(200, prefix_cache=True)
    jobs = [driver.add(Request([*prompt(1030), n], 5, SamplingParams(seed=n))) for n in range(20)]
    jobs += [driver.add(Request(prompt(1030, 1), 5)), driver.add(Request(prompt(100), 5))]
    driver.run()
    assert [driver.finish(job).n_cached for job in jobs] == [0, *[1024] * 19, 0, 0]
    assert all(driver.tokens(job) == answer(job.request) for job in jobs)
    assert driver.loop.stats().prefilled_tokens == 1031 + 19 * 7 + 1030 + 100


def test_running_requests_share_blocks() -> None:
    driver = Driver(200, prefix_cache=True)
    first = driver.add(Request(prompt(1024), 200))
    driver.loop.turn()
    others = [driver.add(Request([*prompt(1024), n], 200, SamplingParams(seed=n))) for n in range(10)]
    for _ in range(3):
        driver.loop.turn()
    assert driver.loop.stats().n_held_blocks < 16 + 11 * 5
    driver.run()
    assert all(driver.tokens(job) == answer(job.request) for job in [first, *others])
    driver.check_idle()


# ---------------------------------------------------------------- ends


def test_every_way_to_end() -> None:
    driver = Driver(200)
    long = answer(Request([5], 50))
    stop = driver.add(Request([5], 50, stop_ids={long[7]}))
    length = driver.add(Request([5], 50))
    late = driver.add(Request([6], 5000, deadline_s=20))
    at_once = driver.add(Request([7], 1))
    driver.run()
    assert driver.tokens(stop) == long[: long.index(long[7]) + 1]
    assert [driver.finish(job).reason for job in (stop, length, late, at_once)] == [
        "stop",
        "length",
        "deadline",
        "length",
    ]
    assert 20 <= driver.finish(late).total_s <= 20 + STEP_S
    assert driver.tokens(late) == answer(late.request)[: driver.finish(late).n_new]
    driver.check_idle()


@pytest.mark.parametrize("turns", range(8))
def test_a_cancelled_request_is_gone_before_the_next_call(turns: int) -> None:
    """While it waits, between the pieces of its prompt, while it decodes, and when it is over."""
    driver = Driver(200, pass_tokens=256, prefix_cache=False)
    other = driver.add(Request([1], 40))
    driver.loop.turn()
    job = driver.add(Request(prompt(700), 2))
    waiting = driver.add(Request(prompt(100), 2))
    for _ in range(turns):
        driver.loop.turn()
    held = driver.loop.stats().n_held_blocks
    driver.loop.cancel(job)
    driver.loop.cancel(waiting)
    driver.loop.cancel(job)
    assert held == 1 or driver.loop.stats().n_held_blocks == 1
    driver.run()
    assert driver.finish(job).reason in ("cancelled", "length")
    assert driver.tokens(other) == answer(other.request)
    driver.check_idle()


def test_deadlines_of_requests_that_are_over_are_forgotten() -> None:
    driver = Driver(200)
    for _ in range(1000):
        driver.add(Request([1], 1, deadline_s=1e9))
        driver.run()
    assert len(driver.loop._deadlines) <= 2 * ROWS + 1


def test_times() -> None:
    driver = Driver(200)
    job = driver.add(Request([1], 10))
    driver.run()
    finish = driver.finish(job)
    assert (finish.started_s, finish.first_token_s) == (0, pass_seconds(256))
    assert finish.total_s == pass_seconds(256) + 9 * STEP_S


# ---------------------------------------------------------------- overlap


def test_the_readers_get_a_steps_tokens_while_the_next_one_runs() -> None:
    events: list[str] = []

    class Model(StubModel):
        def step(self) -> None:
            super().step()
            events.append("step")

        def read_tokens(self) -> list[int]:
            events.append(f"read, {len(driver.tokens(job))} delivered")
            return super().read_tokens()

    driver = Driver(200, model_type=Model)
    job = driver.add(Request([1], 4))
    driver.run()
    assert events == ["step", "read, 1 delivered", "step", "read, 2 delivered", "step", "read, 3 delivered"]
    assert driver.tokens(job) == answer(job.request)


# ---------------------------------------------------------------- rows of the host


class Drawn(NamedTuple):
    token: int
    logprob: float


@dataclass
class NextOne:
    """Takes the id after the one that the chips would take."""

    seen: list[list[int]] = field(default_factory=list)  # the answer so far, of each call
    fails_at: int | None = None

    def next_token(self, logits_V: np.ndarray, generated: Sequence[int]) -> Drawn:
        self.seen.append(list(generated))
        if len(generated) == self.fails_at:
            raise ValueError("the grammar is lost")
        return Drawn((int(logits_V.argmax()) + 1) % VOCAB, -float(len(generated)))


def test_tokens_that_are_drawn_on_the_host_and_neighbours_that_are_not() -> None:
    driver = Driver(n_blocks=40, pass_tokens=256)
    hosts = [NextOne() for _ in range(3)]
    theirs = [
        driver.add(Request(prompt(300, n), 150, SamplingParams(seed=n), host_row=one)) for n, one in enumerate(hosts)
    ]
    others = [driver.add(Request(prompt(90, n), 200, SamplingParams(seed=n))) for n in range(6)]
    driver.run()
    assert driver.loop.stats().preemptions > 0
    for job, host in zip(theirs, hosts, strict=True):
        expected = answer(job.request, shift=1)
        assert driver.tokens(job) == expected
        assert [one.logprob for one in driver.drawn(job)] == [-index for index in range(150)]
        assert host.seen == [expected[:index] for index in range(150)]
    for job in others:
        assert driver.tokens(job) == answer(job.request)
        assert driver.drawn(job) == [None] * 200
    driver.check_idle()


def test_logits_are_read_only_where_somebody_wants_them() -> None:
    read = []

    class Model(StubModel):
        def read_logits(self) -> np.ndarray:
            read.append(len(driver.calls))
            return super().read_logits()

    driver = Driver(200, model_type=Model)
    driver.add(Request([1], 20))
    driver.loop.turn()
    assert read == []
    driver.add(Request([2], 3, host_row=NextOne()))
    driver.run()
    assert len(read) == 3


@pytest.mark.parametrize("index", [0, 5])
def test_a_host_row_that_fails_ends_its_own_request(index: int) -> None:
    driver = Driver(200)
    other = driver.add(Request([1], 20))
    job = driver.add(Request([2], 20, host_row=NextOne(fails_at=index)))
    driver.run()
    assert driver.finish(job)[:2] == (
        "error",
        "no token could be drawn any more, see what the request asks for (ValueError: the grammar is lost)",
    )
    assert driver.tokens(job) == answer(job.request, shift=1)[:index]
    assert driver.tokens(other) == answer(other.request)
    driver.check_idle()


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("at_call", range(0, 40, 3))
def test_whatever_fails_in_the_model_nothing_leaks(at_call: int) -> None:
    def fail(what: str, rows: int) -> None:
        if len(driver.calls) > at_call:
            raise ZeroDivisionError("a chip has gone")

    driver = Driver(30, 256, prefix_cache=True, on_call=fail)
    for n in range(40):
        driver.add(Request(prompt(1 + 40 * n, n), 5 + n))
    with pytest.raises(ZeroDivisionError):
        driver.run()
    driver.loop.announce("the engine has failed, start it again")
    driver.loop.drop("error", "the engine has failed, start it again")
    assert not driver.loop.turn()
    driver.check_idle()
    assert driver.loop.stats().n_cached_blocks == 0
    for job in driver.jobs:
        assert job.over
        assert driver.tokens(job) == answer(job.request)[: job.n_new]
