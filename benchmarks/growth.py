"""How the CPU target's time grows with batch, context and prompt length, as lines in SVG.

    .venv/bin/python -m benchmarks.growth docs/growth.svg      # a few minutes on two quiet cores

The tiny checkpoint on 8 chips. The exponent that is printed is of the last doubling: 1 for what grows as its size. A
step always has 32 rows, so batch should change little; a prompt's time grows faster than its length once attention
outweighs all else. Nothing here is about chips.
"""

import sys
import tempfile
from collections.abc import Sequence
from html import escape
from math import log2
from pathlib import Path
from statistics import median

from models.mixtral8x7b.target import use_target

use_target("cpu")

from benchmarks.contestants import CpuTarget  # noqa: E402
from benchmarks.real_time import provenance, timed  # noqa: E402
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint  # noqa: E402
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint  # noqa: E402
from models.mixtral8x7b.durable import write_text_durably  # noqa: E402

BATCHES = (1, 2, 4, 8, 16, 32)
CONTEXTS = (128, 256, 512, 1024, 2048)
PROMPTS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
TURNS = 5
WIDTH, HEIGHT, MARGIN, TOP = 300, 220, 60, 70  # pixels of a panel

Points = list[tuple[int, float]]  # size, seconds


def main(picture: Path) -> None:
    title = provenance()
    print(title, flush=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        CpuTarget.opened(
            RepackedCheckpoint(tiny_checkpoint("base", Path(folder))), max(PROMPTS), max(CONTEXTS) + 64
        ) as model,
    ):
        panels = {
            "decode step against batch (context 128)": [(n, step(model, n, CONTEXTS[0])) for n in BATCHES],
            "decode step against context (batch 32)": [(n, step(model, BATCHES[-1], n)) for n in CONTEXTS],
            "prefill against prompt length": [(n, prefill(model, n)) for n in PROMPTS],
        }
    for name, points in panels.items():
        print(f"{name}: " + ", ".join(f"{size}: {1e3 * seconds:,.1f} ms" for size, seconds in points))
        print(f"    the last doubling costs 2 ** {exponent(points):.2f}", flush=True)
    write_text_durably(picture, drawn(title, panels))


def step(model: CpuTarget, batch: int, context: int) -> float:
    model.start(batch, context)
    model.step()  # records
    model.step()
    return median(timed(model.step, 1) for _ in range(TURNS))


def prefill(model: CpuTarget, length: int) -> float:
    ids = [3 + place % 1000 for place in range(length)]
    return median(timed(lambda: model.prefill(ids), 1) for _ in range(TURNS if length < 2048 else 2))


def exponent(points: Points) -> float:
    (small, before), (large, after) = points[-2:]
    return log2(after / before) / log2(large / small)


def drawn(title: str, panels: dict[str, Points]) -> str:
    width, height = len(panels) * (WIDTH + MARGIN) + MARGIN, TOP + HEIGHT + 50
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        _text(MARGIN, 20, "CPU target, mixtral-tiny, 8 chips: milliseconds, both axes logarithmic"),
        _text(MARGIN, 36, title),
    ]
    for number, (name, points) in enumerate(panels.items()):
        parts += _panel(MARGIN + number * (WIDTH + MARGIN), name, points)
    return "\n".join([*parts, "</svg>", ""])


def _panel(x: int, name: str, points: Points) -> list[str]:
    sizes, times = [log2(size) for size, _ in points], [log2(seconds) for _, seconds in points]
    low, high = min(times) - 0.5, max(times) + 0.5

    def place(size: float, time: float) -> tuple[float, float]:
        across = (size - sizes[0]) / (sizes[-1] - sizes[0])
        return x + across * WIDTH, TOP + HEIGHT * (high - time) / (high - low)

    places = [place(*point) for point in zip(sizes, times, strict=True)]
    parts = [
        f'<rect x="{x}" y="{TOP}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#999"/>',
        _text(x, TOP - 8, name),
        f'<polyline points="{_joined(places)}" fill="none" stroke="#4a7ebb" stroke-width="2"/>',
    ]
    for (across, down), (size, seconds) in zip(places, points, strict=True):
        parts.append(f'<circle cx="{across:.1f}" cy="{down:.1f}" r="3" fill="#4a7ebb"/>')
        parts.append(_text(across - 10, TOP + HEIGHT + 16, f"{size}"))
        parts.append(_text(across - 8, down - 8, f"{1e3 * seconds:,.0f}"))
    return parts


def _joined(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{across:.1f},{down:.1f}" for across, down in places)


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}">{escape(text)}</text>'


if __name__ == "__main__":
    main(Path(sys.argv[1]))
