"""Loops over the words of float32 values, compiled by numba: one pass over memory where torch takes ten.

What is compiled is kept in `__pycache__`, in the user's cache where that is read-only, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import local
from typing import Any

import numba
import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_SHARE = 1 << 18  # values, some quarter of a millisecond: less is not worth a thread, least of all on a busy machine
_PARTS = 8  # of a thread
_of_torch = local()  # .threads: that torch had in this Python thread before it was told to take one

Loop = Callable[..., None]


def compiled(*signatures: str, in_any_order: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`in_any_order`: sums of floats need not be taken one after the other, so that they go in the machine's width."""

    def decorate(loop: Callable[..., Any]) -> Callable[..., Any]:
        def made(keep: bool) -> Callable[..., Any]:
            free = {"reassoc", "contract"} if in_any_order else set()
            return numba.njit(list(signatures), nogil=True, error_model="numpy", fastmath=free, cache=keep)(loop)

        try:
            return made(keep=True)
        except (OSError, RuntimeError):  # there is no place to keep it, or no room
            return made(keep=False)

    return decorate


def over_rows(loop: Loop, sources: Sequence[torch.Tensor], out: torch.Tensor, *settings: object, each: int = 1) -> None:
    """`loop(*sources, out, *settings)` over the first dim of all, contiguous and float32, whose words it gets as int32;
    in as many threads as torch uses. A value takes `each` steps."""
    _over([tensor.numpy().view(np.int32) for tensor in (*sources, out)], loop, settings, each)


def over_values(
    loop: Loop, sources: Sequence[torch.Tensor], out: torch.Tensor, *settings: object, each: int = 1, group: int = 0
) -> None:
    """The same over the values of all, one by one, or group by group."""
    shape = (-1, group) if group else (-1,)
    _over([tensor.numpy().reshape(shape).view(np.int32) for tensor in (*sources, out)], loop, settings, each)


def _over(words: Sequence[np.ndarray], loop: Loop, settings: Sequence[object], each: int) -> None:
    size, steps = len(words[-1]), words[-1].size * each
    if steps < 2 * _SHARE:
        loop(*words, *settings)
        return
    in_threads(lambda first, end: loop(*[one[first:end] for one in words], *settings), size, steps)


def without_torch_threads(step: Callable[[], None]) -> None:
    """`step()`, in which torch's own operations take one thread: theirs wait for each other, spinning on the cores that
    `in_threads` has use for, and what is short is over before they have begun."""
    n = torch.get_num_threads()
    if n == 1:
        step()
        return
    _of_torch.threads = n
    torch.set_num_threads(1)
    try:
        step()
    finally:
        torch.set_num_threads(n)
        del _of_torch.threads


def in_threads(run: Callable[[int, int], None], n: int, steps: int) -> None:
    """`run(first, end)` of `n`, in as many threads as torch uses where their `steps` in all are worth it. Each takes
    the next part when it is through with one, so that nobody waits for a thread that has to share its core."""
    most = getattr(_of_torch, "threads", None) or torch.get_num_threads()
    threads = min(most, steps // _SHARE, n)
    if threads <= 1:
        run(0, n)
        return
    share = -(-n // min(n, threads * _PARTS))
    parts = iter(range(0, n, share))

    def take() -> None:
        for first in parts:
            run(first, min(n, first + share))

    others = [_pool(threads - 1).submit(take) for _ in range(threads - 1)]
    try:
        take()
    finally:
        for _ in parts:  # if that failed, nobody goes on
            pass
        for other in others:
            if not other.cancel():
                other.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="ttnn_cpu")


def _same_bits(source: types.Type, target: types.Type, as_llvm: ir.Type) -> Callable[..., Any]:
    @intrinsic
    def cast(context: Any, value: Any) -> Any:
        return target(source), lambda _, builder, signature, args: builder.bitcast(args[0], as_llvm)

    return cast


as_float = _same_bits(types.int32, types.float32, ir.FloatType())
as_word = _same_bits(types.float32, types.int32, ir.IntType(32))


def _shift(build: str) -> Callable[..., Any]:
    @intrinsic
    def shift(context: Any, value: Any, by: Any) -> Any:
        def made(_: Any, builder: ir.IRBuilder, signature: Any, args: Any) -> Any:
            return getattr(builder, build)(*args)

        return types.int32(types.int32, types.int32), made

    return shift


# of 32 bits, by 0 to 31 places: numba's own would be of 64 bits
shifted_left, shifted_right = _shift("shl"), _shift("ashr")
