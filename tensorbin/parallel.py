"""Work on independent blocks in threads. numpy lets go of the interpreter while it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def share_out(blocks: Iterable[T], work: Callable[[Iterator[T]], None]) -> None:
    """Calls `work` in as many threads as torch uses; together the calls take every block once from the iterator."""
    listed = list(blocks)
    iterator = iter(listed)
    threads = min(torch.get_num_threads(), len(listed))
    if threads <= 1:
        work(iterator)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, iterator) for _ in range(threads)]:
            done.result()
