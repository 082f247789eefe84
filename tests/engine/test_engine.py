"""The engine and its threads: any number may submit, read, cancel; one owns the model. Faults reach every reader."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.engine import watchdog
from models.mixtral8x7b.engine.engine import BusyError, Engine, Options
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import EngineError, Stream
from models.mixtral8x7b.sampling import SamplingParams
from tests.engine.stub_model import VOCAB, StubModel, answer


class Gate:
    """Holds the model at a call until it is opened."""

    def __init__(self) -> None:
        self._open, self.reached = threading.Event(), threading.Event()

    def __call__(self, what: str, rows: int) -> None:
        self.reached.set()
        assert self._open.wait(60)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


def tokens(stream: Stream) -> list[int]:
    return [token.id for token in stream]


def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("never")


def check_idle(engine: Engine, n_blocks: int) -> None:
    until(lambda: engine.stats().n_held_blocks == 0)
    stats = engine.stats()
    assert stats.n_waiting == stats.n_prefilling == stats.n_decoding == 0
    assert stats.n_free_blocks + stats.n_cached_blocks == n_blocks


def test_answers_of_several_threads() -> None:
    with Engine(StubModel(60)) as engine, ThreadPoolExecutor(8) as pool:
        requests = [Request([n % 7] * (1 + 11 * n), 1 + n % 50, SamplingParams(seed=n)) for n in range(100)]
        got = list(pool.map(lambda request: tokens(engine.submit(request)), requests))
        assert got == [answer(request) for request in requests]
        check_idle(engine, 60)


def test_one_who_may_not_wait_is_told_when_to_look() -> None:
    told, got = threading.Event(), []
    request = Request([5] * 10, 30)
    with Engine(StubModel(60)) as engine:
        stream = engine.submit(request, on_put=told.set)
        while stream.finish is None:
            assert told.wait(60)
            told.clear()
            got += stream.arrived()
    assert [token.id for token in got] == answer(request)
    assert stream.arrived() == []


def test_ten_thousand_requests() -> None:
    """Of 1 to 4k tokens, a tenth cancelled at any moment, too few blocks: none lost, none doubled, nothing left."""
    draw, n_blocks = random.Random(0), 90
    ids = [draw.randrange(VOCAB) for _ in range(8192)]

    def request(number: int) -> Request:
        first, sampling = draw.randrange(4096), SamplingParams(seed=number)
        if number % 1000 < 40:  # many that write much: together they need more blocks than there are
            return Request(ids[first : first + draw.randrange(1, 60)], 300, sampling)
        length = int(2 ** draw.uniform(0, 12.001))
        return Request(ids[first : first + length], draw.choice([1, 2, 4, 8]), sampling, range(draw.choice([0, 99])))

    requests = [request(number) for number in range(10_000)]
    assert max(len(one.ids) for one in requests) > 4090
    assert min(len(one.ids) for one in requests) == 1
    with Engine(StubModel(n_blocks), Options(most_waiting=10_000)) as engine:
        streams = [engine.submit(one) for one in requests]
        cancelled = [stream for stream in streams if draw.random() < 0.1]
        canceller = threading.Thread(target=lambda: [(stream.cancel(), time.sleep(0.001)) for stream in cancelled])
        canceller.start()
        got = [tokens(stream) for stream in streams]
        canceller.join()
        stats = engine.stats()
        check_idle(engine, n_blocks)
    reasons = [stream.finish.reason for stream in streams if stream.finish]
    assert len(reasons) == 10_000 == sum(stats.finished.values())
    assert set(reasons) == {"stop", "length", "cancelled"}
    assert 100 < reasons.count("cancelled") <= len(cancelled)
    assert stats.preemptions > 50
    assert sum(map(len, got)) == stats.new_tokens
    for one, reason, answered in zip(requests, reasons, got, strict=True):
        expected = answer(one)
        assert answered == (expected[: len(answered)] if reason == "cancelled" else expected)


def test_what_can_never_be_served_is_refused_at_once() -> None:
    with Engine(StubModel(4)) as engine:
        with pytest.raises(RequestError, match="need 5 KV blocks of 64; the whole cache has 4"):
            engine.submit(Request([1] * 250, 8))
        assert tokens(engine.submit(Request([1] * 250, 7))) == answer(Request([1] * 250, 7))


def test_a_full_queue_says_how_long_it_is(gate: Gate) -> None:
    with Engine(StubModel(100, before=gate), Options(most_waiting=3)) as engine:
        first = engine.submit(Request([1], 2))
        gate.reached.wait(10)  # it has its row
        waiting = [engine.submit(Request([n], 2)) for n in range(3)]
        with pytest.raises(BusyError, match="^3 requests wait, at most 3 may: try again later$"):
            engine.submit(Request([9], 2))
        waiting[0].cancel()
        gate.open()
        assert tokens(first) == answer(Request([1], 2))
        assert [tokens(stream) for stream in waiting] == [[], answer(Request([1], 2)), answer(Request([2], 2))]
        assert tokens(engine.submit(Request([9], 2))) == answer(Request([9], 2))
        check_idle(engine, 100)


def test_cancelling_what_is_over_does_nothing() -> None:
    with Engine(StubModel(100)) as engine:
        stream = engine.submit(Request([1], 5))
        until(lambda: engine.stats().finished == {"length": 1})
        stream.cancel()  # over, though its reader does not know yet
        assert tokens(stream) == answer(Request([1], 5))
        stream.cancel()
        assert stream.finish is not None
        assert stream.finish.reason == "length"
        assert tokens(stream) == []
        assert tokens(engine.submit(Request([2], 5))) == answer(Request([2], 5))
        assert engine.stats().finished == {"length": 2}


def test_a_deadline_passes_while_it_waits(gate: Gate) -> None:
    with Engine(StubModel(4, before=gate)) as engine:
        first = engine.submit(Request([1] * 128, 100))
        gate.reached.wait(10)
        late = engine.submit(Request([1] * 128, 100, deadline_s=0.01))
        time.sleep(0.02)
        gate.open()
        assert tokens(late) == []
        assert late.finish is not None
        assert late.finish.reason == "deadline"
        assert late.finish.started_s is None
        assert tokens(first) == answer(Request([1] * 128, 100))


def test_an_exception_in_the_model_reaches_every_reader() -> None:
    def fail(what: str, rows: int) -> None:
        if what == "step":
            raise ZeroDivisionError("a chip has gone")

    sentence = (
        r"^the engine has stopped: the model failed, start the program again \(ZeroDivisionError: a chip has gone\)$"
    )
    engine = Engine(StubModel(100, before=fail))
    streams = [engine.submit(Request([n], 5)) for n in range(3)]
    streams += _submitted_until_refused(engine)
    for stream in streams:
        with pytest.raises(EngineError, match=sentence):
            list(stream)
        assert stream.finish is not None
        assert stream.finish.reason == "lost"
    with pytest.raises(EngineError, match=sentence):
        engine.submit(Request([1], 5))
    assert engine.failure is not None
    engine.close()
    check_idle(engine, 100)


def _submitted_until_refused(engine: Engine) -> list[Stream]:
    streams = []
    for n in range(10**6):
        try:
            streams.append(engine.submit(Request([n % VOCAB], 5)))
        except (EngineError, BusyError):
            return streams
    raise AssertionError("never refused")


def test_a_step_that_hangs_is_noticed(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LEAST_S", 0.2)
    monkeypatch.setattr(watchdog, "FIRST_S", 0.2)
    hangs = threading.Event()

    def before(what: str, rows: int) -> None:
        if hangs.is_set():
            gate(what, rows)

    engine = Engine(StubModel(100, before=before))
    assert tokens(engine.submit(Request([1], 5))) == answer(Request([1], 5))
    hangs.set()
    streams = [engine.submit(Request([n], 50)) for n in range(40)]
    start = time.monotonic()
    for stream in streams:
        with pytest.raises(EngineError, match=r"^the engine has stopped: a .* has not ended in time; it "):
            list(stream)
    assert time.monotonic() - start < 20, "while it hangs, not when it has come back"
    with pytest.raises(EngineError, match="has not ended in time"):
        engine.submit(Request([1], 5))
    assert engine.failure is not None
    gate.open()  # should it come back after all, nothing is served and nothing leaks
    engine.close()
    check_idle(engine, 100)


def test_close_ends_what_runs_and_refuses_what_comes() -> None:
    engine = Engine(StubModel(1000))
    streams = [engine.submit(Request([n], 30_000)) for n in range(40)]
    next(iter(streams[0]))
    engine.close()
    for stream in streams:
        list(stream)
        assert stream.finish is not None
        assert stream.finish.reason == "cancelled"
    with pytest.raises(EngineError, match="^the engine is closed and takes no more requests; start it again$"):
        engine.submit(Request([1], 5))
    assert engine.failure is None
    check_idle(engine, 1000)
    engine.close()


def test_close_ends_what_has_not_been_looked_at(gate: Gate) -> None:
    engine = Engine(StubModel(100, before=gate))
    streams = [engine.submit(Request([1], 50))]
    gate.reached.wait(10)
    streams.append(engine.submit(Request([2], 50)))
    closer = threading.Thread(target=engine.close)
    closer.start()
    until(lambda: _refuses(engine))
    gate.open()
    closer.join()
    for stream in streams:
        list(stream)
        assert stream.finish is not None
        assert stream.finish.reason == "cancelled"
    check_idle(engine, 100)


def _refuses(engine: Engine) -> bool:
    try:
        engine.submit(Request([3], 1)).cancel()
    except EngineError:
        return True
    return False


def test_it_sleeps_while_nobody_is_there() -> None:
    with Engine(StubModel(100)) as engine:
        tokens(engine.submit(Request([1], 5)))
        until(lambda: engine.stats().n_held_blocks == 0)
        time.sleep(0.05)
        start = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - start < 0.05
        assert tokens(engine.submit(Request([1], 5))) == answer(Request([1], 5))
