"""Loops over the words of float32 values, compiled by numba: one pass over memory where torch takes ten.

What is compiled is kept in `__pycache__`, in the user's cache where that is read-only, or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_SHARE = 1 << 18  # values, some quarter of a millisecond: less is not worth a thread, least of all on a busy machine

Loop = Callable[..., None]


def compiled(*signatures: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(loop: Callable[..., Any]) -> Callable[..., Any]:
        def made(keep: bool) -> Callable[..., Any]:
            return numba.njit(list(signatures), nogil=True, error_model="numpy", cache=keep)(loop)

        try:
            return made(keep=True)
        except (OSError, RuntimeError):  # there is no place to keep it, or no room
            return made(keep=False)

    return decorate


def over_rows(loop: Loop, sources: Sequence[torch.Tensor], out: torch.Tensor, *settings: object, each: int = 1) -> None:
    """`loop(*sources, out, *settings)` over the first dim of all, contiguous and float32, whose words it gets as int32;
    in as many threads as torch uses. A value takes `each` steps."""
    words = [tensor.view(torch.int32).numpy() for tensor in (*sources, out)]
    threads = min(torch.get_num_threads(), out.numel() * each // _SHARE, len(out))
    if threads <= 1:
        loop(*words, *settings)
        return
    share = -(-len(out) // threads)
    pieces = [slice(start, start + share) for start in range(0, len(out), share)]
    list(_pool(threads).map(lambda piece: loop(*[one[piece] for one in words], *settings), pieces))


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
