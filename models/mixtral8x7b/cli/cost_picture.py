"""What the cost model says, in SVG: the largest operations against their roofs, and what each step is made of."""

from collections.abc import Sequence

from models.mixtral8x7b.cli.picture import text
from models.mixtral8x7b.cost.prediction import Prediction
from models.mixtral8x7b.cost.study import Decoding, FirstTokens

KINDS = {
    "matmuls": "#4a7ebb",
    "attention": "#c0504d",
    "collectives": "#9bbb59",
    "everything else": "#8064a2",
    "gaps, launches, host": "#a6a6a6",
}
LABELS, PANEL, LINE, BAR, TOP = 420, 460, 20, 13, 92  # pixels
LARGEST = 10


def drawn(decoding: Sequence[Decoding], first: Sequence[FirstTokens]) -> str:
    """The last step and the last single prompt by operation, then a stacked bar of every step and prompt."""
    shown = [decoding[-1].predicted, next(each for each in reversed(first) if each.users == 1).predicted]
    bars = [(f"batch {d.users}, context {d.context}", d.predicted) for d in decoding]
    bars += [(f"{f.users} x {f.length} tokens to the first", f.predicted) for f in first]
    height = TOP + LINE * (2 * (LARGEST + 2) + len(bars) + 3)
    title = f"Mixtral 8x7B, {decoding[-1].precision}: modelled, not measured"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABELS + PANEL + 130}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{LABELS + PANEL + 130}" height="{height}" fill="white"/>',
        text(10, 22, title, 'font-weight="bold" font-size="15"'),
        text(10, 44, "blue: us of all calls of an operation; black: at the chip's peaks"),
    ]
    y = TOP - LINE
    for name, prediction in zip((bars[len(decoding) - 1][0], _name_of(first)), shown, strict=True):
        parts += [text(10, y, name, 'font-weight="bold"'), *_operations(y + 8, prediction)]
        y += LINE * (LARGEST + 2)
    parts += [*_legend(y), *_stacks(y + LINE, bars)]
    return "\n".join([*parts, "</svg>", ""])


def _name_of(first: Sequence[FirstTokens]) -> str:
    last = next(each for each in reversed(first) if each.users == 1)
    return f"prompt of {last.length} tokens, last pass"


def _operations(y: int, prediction: Prediction) -> list[str]:
    entries = prediction.steps[-1].largest(LARGEST)
    longest = entries[0].us
    parts = []
    for number, entry in enumerate(entries):
        top, length = y + LINE * number, PANEL * entry.us / longest
        label = f"{entry.count} x {entry.cost.name} {entry.cost.detail}"
        parts += [
            text(10, top + BAR - 2, label if len(label) < 58 else label[:56] + ".."),
            _bar(LABELS, top, length, KINDS["matmuls"]),
            _bar(LABELS, top + BAR - 4, PANEL * entry.roof / longest, "black", 4),
            text(round(LABELS + length) + 6, top + BAR - 2, f"{entry.us:,.0f} ({entry.cost.limit})"),
        ]
    return parts


def _legend(y: int) -> list[str]:
    parts, x = [], LABELS
    for kind, colour in KINDS.items():
        parts += [_bar(x, y - BAR + 2, BAR, colour), text(x + BAR + 4, y, kind)]
        x += 122
    return parts


def _stacks(y: int, bars: Sequence[tuple[str, Prediction]]) -> list[str]:
    """Each as long as the panel: shares; what they take in all stands behind."""
    parts = []
    for number, (name, prediction) in enumerate(bars):
        top, x = y + LINE * number, float(LABELS)
        parts.append(text(10, top + BAR - 2, name))
        for kind, ms in shares(prediction).items():
            width = PANEL * ms / prediction.ms.expected
            parts.append(_bar(x, top, width, KINDS[kind]))
            x += width
        parts.append(text(LABELS + PANEL + 6, top + BAR - 2, f"{prediction.ms.expected:,.1f} ms"))
    return parts


def shares(prediction: Prediction) -> dict[str, float]:
    """ms by kind; together what is expected."""
    found = dict.fromkeys(KINDS, 0.0)
    for step in prediction.steps:
        for entry in step.entries:
            found[_kind(entry.cost.name)] += entry.us / 1e3
    found["gaps, launches, host"] = prediction.ms.expected - sum(found.values())
    return found


def _kind(name: str) -> str:
    if ("matmul" in name and not name.endswith(": zeros")) or name == "linear":
        return "matmuls"
    if "attention" in name:
        return "attention"
    return "collectives" if name in ("all_gather", "reduce_scatter") else "everything else"


def _bar(x: float, y: float, width: float, colour: str, height: int = BAR) -> str:
    return f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}" fill="{colour}"/>'
