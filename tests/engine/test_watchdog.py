"""A call that takes 20 times as long as usual, and at least 30 s, is reported; nothing else is."""

import threading
import time

import pytest

from models.mixtral8x7b.engine import watchdog
from models.mixtral8x7b.engine.watchdog import Watchdog


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LEAST_S", 0.15)
    monkeypatch.setattr(watchdog, "FIRST_S", 0.6)


class Report:
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.came = threading.Event()

    def __call__(self, message: str) -> None:
        self.messages.append(message)
        self.came.set()


def test_the_limits() -> None:
    assert (watchdog.TIMES_USUAL, watchdog.LEAST_S) == (20, 30)


@pytest.mark.usefixtures("fast")
def test_one_that_hangs_is_reported_once_while_it_hangs() -> None:
    report = Report()
    dog = Watchdog(report)
    for _ in range(3):
        with dog.watch("a decode step"):
            pass
    with dog.watch("a decode step"):
        assert report.came.wait(5)
        time.sleep(0.2)
    (message,) = report.messages
    assert message.startswith("a decode step has not ended in time; it usually takes ")
    dog.close()


@pytest.mark.usefixtures("fast")
def test_the_first_of_a_kind_may_take_longer() -> None:
    report = Report()
    dog = Watchdog(report)
    with dog.watch("a decode step"):
        assert not report.came.wait(0.3)
    with dog.watch("a prefill pass of 256 rows"):
        assert report.came.wait(5)
    assert report.messages == [
        "a prefill pass of 256 rows has not ended in time; it is the first of its kind: see what the chips do and "
        "start the program again"
    ]
    dog.close()


@pytest.mark.usefixtures("fast")
def test_what_is_usual_is_measured() -> None:
    report = Report()
    dog = Watchdog(report)
    with dog.watch("a decode step"):
        time.sleep(0.02)
    with dog.watch("a decode step"):
        assert not report.came.wait(0.25)  # less than 20 times 0.02 s
    dog.close()


@pytest.mark.usefixtures("fast")
def test_no_report_of_many_short_ones_nor_of_none() -> None:
    report = Report()
    dog = Watchdog(report)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        with dog.watch("a decode step"):
            time.sleep(0.001)
    assert not report.came.wait(0.3)
    with pytest.raises(ZeroDivisionError), dog.watch("a decode step"):
        raise ZeroDivisionError
    assert not report.came.wait(0.3)
    dog.close()


def test_one_that_hangs_has_its_own_time_not_the_firsts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The watchdog had gone to sleep till the end of the time that the first of its kind may take."""
    monkeypatch.setattr(watchdog, "LEAST_S", 0.15)
    report = Report()
    dog = Watchdog(report)
    with dog.watch("a decode step"):
        time.sleep(0.01)  # so that the thread has seen it
    with dog.watch("a decode step"):
        assert report.came.wait(20)
    dog.close()
