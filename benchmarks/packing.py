"""How fast `tensorbin.pack` is beside ttnn's `from_torch`: one matrix of Mixtral 8x7B's experts, alternating runs.

.venv/bin/python -m benchmarks.packing

Needs the real ttnn; it runs on the mocked T3000, where `from_torch` packs on the host as it does with chips.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch

import tensorbin
from models.mixtral8x7b.target import use_target

SHAPE = (4096, 14336)
RUNS = 5


def main() -> None:
    use_target("mock")
    import ttnn

    weight = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)).mul_(0.02).bfloat16()
    sources = {"contiguous": weight, "transposed view": weight.T.contiguous().T}
    print(f"bf16 {list(SHAPE)} on {torch.get_num_threads()} threads, median of {RUNS} alternating runs")
    print(f"{'to':12}{'source':18}{'ttnn ms':>9}{'ours ms':>9}{'ratio':>7}")
    for dtype in (tensorbin.DType.BFLOAT8_B, tensorbin.DType.BFLOAT4_B):
        for name, source in sources.items():
            real_dtype = getattr(ttnn, dtype.name.lower())
            real, ours = _alternating(
                partial(ttnn.from_torch, source, dtype=real_dtype, layout=ttnn.TILE_LAYOUT),
                partial(tensorbin.pack, source, dtype, tensorbin.Layout.TILE),
            )
            print(f"{dtype.name:12}{name:18}{real:9.0f}{ours:9.0f}{real / ours:7.2f}")


def _alternating(*functions: Callable[[], object]) -> list[float]:
    """The median of each in milliseconds; a first round, which fetches memory, does not count."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(RUNS + 1):
        for function, found in zip(functions, times, strict=True):
            start = time.perf_counter()
            result = function()
            found.append(1e3 * (time.perf_counter() - start))
            del result
    return [median(found[1:]) for found in times]


if __name__ == "__main__":
    main()
