"""A benchmark's table as bars, in SVG."""

from collections.abc import Callable, Sequence
from html import escape

from models.mixtral8x7b.cli.measure import Measured

PANELS: tuple[tuple[str, Callable[[Measured], float | None]], ...] = (
    ("tokens/s/user", lambda row: row.tokens_s_user),
    ("output tokens/s", lambda row: row.output_tokens_s),
    ("TTFT, ms (median)", lambda row: row.ttft_ms_median),
)
LABELS, PANEL, GAP, LINE, BAR = 190, 230, 90, 22, 14  # pixels
TOP = 66


def drawn(title: str, rows: Sequence[Measured]) -> str:
    """A panel for each of PANELS, a bar in each for every row; the longest bar of a panel is its largest value."""
    width, height = LABELS + len(PANELS) * (PANEL + GAP), TOP + LINE * len(rows) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        'font-size="13">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        text(10, 22, title, 'font-weight="bold"'),
    ]
    for number, row in enumerate(rows):
        label = f"{row.users} x {row.input_tokens} in, {row.output_tokens} out"
        parts.append(text(10, TOP + LINE * number + BAR, label))
    for number, (name, value_of) in enumerate(PANELS):
        parts += _panel(LABELS + number * (PANEL + GAP), name, [value_of(row) for row in rows])
    return "\n".join([*parts, "</svg>", ""])


def _panel(x: int, name: str, values: Sequence[float | None]) -> list[str]:
    largest = max((value for value in values if value is not None), default=0.0)
    parts = [text(x, TOP - 12, name)]
    for number, value in enumerate(values):
        y = TOP + LINE * number
        length = PANEL * value / largest if value and largest else 0.0
        shown = "-" if value is None else f"{value:,.1f}"
        parts.append(f'<rect x="{x}" y="{y + 2}" width="{length:.1f}" height="{BAR}" fill="#4a7ebb"/>')
        parts.append(text(round(x + length) + 6, y + BAR, shown))
    return parts


def text(x: int, y: int, words: str, style: str = "") -> str:
    return f'<text x="{x}" y="{y}" {style}>{escape(words)}</text>'
