"""Every row that the model is compared with, and how far off it is."""

from collections.abc import Sequence
from math import sqrt

from tests.cost.checks import modelled, not_computed, residual
from tests.cost.published import Row, rows

GROUPS = ("operations", "steps of whole models", "first tokens of whole models")


def group(row: Row) -> str:
    if "ttft" in row.id or row.id.startswith("mixtral.2024.prefill"):
        return GROUPS[2]
    return GROUPS[1] if "tsu" in row.id or row.unit == "t/s/u" or row.metric == "time per step" else GROUPS[0]


def summary(found: Sequence[float]) -> tuple[int, float, float, float]:
    """How many, mean, rms and the worst of them."""
    if not found:
        return 0, 0.0, 0.0, 0.0
    return len(found), sum(found) / len(found), sqrt(sum(r * r for r in found) / len(found)), max(found, key=abs)


def tables() -> str:
    checks = rows("check")
    lines = [
        "| rows | looked at before | how many | mean | rms | worst |",
        "|---|---|---|---|---|---|",
    ]
    for name in GROUPS:
        for looked_at in ("no", "yes"):
            of_group = [row for row in checks if (group(row), row.looked_at) == (name, looked_at)]
            found = [residual(row) for row in of_group if not not_computed(row)]
            n, mean, rms, worst = summary(found)
            lines.append(f"| {name} | {looked_at} | {n} | {mean:+.0%} | {rms:.0%} | {worst:+.0%} |")
    for name in GROUPS:
        lines += ["", f"### Residuals: {name}", "", *_HEAD]
        lines += [_line(row) for row in checks if group(row) == name]
    return "\n".join(lines)


_HEAD = (
    "| row | what | batch | length | published | modelled | residual | looked at before | date |",
    "|---|---|---|---|---|---|---|---|---|",
)


def _line(row: Row) -> str:
    reason = not_computed(row)
    found = f"{modelled(row):.4g} | {residual(row):+.0%}" if not reason else f"- | {reason}"
    what = row.what.replace("|", "/")
    return (
        f"| `{row.id}` | {what} | {row.batch} | {row.length} | {row.value:.4g} {row.unit} | {found} | "
        f"{row.looked_at} | {row.date} |"
    )


if __name__ == "__main__":
    print(tables())
