from collections.abc import Callable
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
