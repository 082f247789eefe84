from collections.abc import Callable, Iterator
from threading import Barrier, Event, current_thread, main_thread
from typing import Any

import numba
import numpy as np
import pytest
import torch

from ttnn_cpu import loops
from ttnn_cpu.enums import DataType
from ttnn_cpu.rounding import on_host


def test_threads_share_the_rows() -> None:
    """Of a size that they do not divide."""
    values = torch.randn(34567, 32, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(on_host(values, DataType.BFLOAT8_B))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


LONG = 1 << 30  # steps


@pytest.mark.usefixtures("two_threads")
def test_nobody_waits_for_a_thread_that_is_busy() -> None:
    """Its part is done by those that are there."""
    done, release = [], Event()
    busy = loops._pool(1).submit(release.wait)
    loops.in_threads(lambda first, end: done.extend(range(first, end)), 100, LONG)
    release.set()
    busy.result()
    assert sorted(done) == list(range(100))


@pytest.mark.usefixtures("two_threads")
def test_what_fails_in_another_thread_fails() -> None:
    together = Barrier(2)  # both threads have a part

    def run(first: int, end: int) -> None:
        together.wait(timeout=60)
        if current_thread() is not main_thread():
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        loops.in_threads(run, 2, LONG)


@pytest.mark.usefixtures("two_threads")
def test_torch_takes_one_thread_and_loops_all() -> None:
    def step() -> None:
        assert torch.get_num_threads() == 1
        loops.in_threads(lambda first, end: together.wait(timeout=60), 2, LONG)
        raise ValueError("here")

    together = Barrier(2)
    with pytest.raises(ValueError, match="here"):
        loops.without_torch_threads(step)
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("no locator available")])
def test_a_loop_that_cannot_be_kept_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    njit = numba.njit

    def no_place(*arguments: object, cache: bool, **settings: object) -> Callable[..., Any]:
        if cache:
            raise error
        return njit(*arguments, cache=False, **settings)

    monkeypatch.setattr(numba, "njit", no_place)

    @loops.compiled("void(int32[::1], int32[::1])")
    def doubled(words, out):  # type: ignore[no-untyped-def]
        for i in range(words.size):
            out[i] = words[i] + words[i]

    out = np.zeros(3, np.int32)
    doubled(np.array([1, 2, 3], np.int32), out)
    assert out.tolist() == [2, 4, 6]
