"""docs/silicon.md: what the real kernels gave on simulated chips.

.venv/bin/python -m tests.sim.report     # out of tests/data, without a simulator

`make sim VERDICTS=changed` (or released), and sim-full, refresh the verdicts; `tests.recorded.record` the operations.
"""

from collections import defaultdict
from pathlib import Path
from typing import Any

import ttnn_cpu
from tests.recorded.calls import DATA, read
from tests.sim import verdicts
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import Difference, difference

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "silicon.md"
TEXT = Path(__file__).with_name("silicon.md.in")  # what is written by hand; {names} are filled in


def page() -> str:
    """The whole page."""
    found = verdicts.read()
    return TEXT.read_text().format(
        versions=versions(found),
        operations=operations(),
        verdicts=tests_table(found),
    )


def operations() -> str:
    """A line for each operation and program, from the recorded calls."""
    lines = ["| operation | in | shapes | equal bits | largest, ulp | rms | PCC |", "|---|---|---|---|---|---|---|"]
    mesh = ttnn_cpu.open_mesh_device(ttnn_cpu.MeshShape(1, 1))
    for file in sorted(DATA.glob("*.npz")):
        by_kind = defaultdict[tuple[str, str], list[tuple[RecordedCall, Difference]]](list)
        for call in read(file)[0]:
            found = difference(call.on_cpu(mesh), list(call.results))
            by_kind["decode" if call.program == "decode step" else "prefill", call.results[0].dtype].append(
                (call, found)
            )
        for (kind, dtype), calls in by_kind.items():
            lines.append(f"| `{file.stem}` to {dtype.lower()} | {kind} | {_shapes(calls)} | {_row(calls)} |")
    ttnn_cpu.close_mesh_device(mesh)
    return "\n".join(lines)


def _shapes(calls: list[tuple[RecordedCall, Difference]]) -> str:
    shapes = sorted({"x".join(map(str, _trimmed(call.results[0].shape))) for call, _ in calls})
    return ", ".join(shapes)


def _trimmed(shape: tuple[int, ...]) -> tuple[int, ...]:
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape


def _row(calls: list[tuple[RecordedCall, Difference]]) -> str:
    """All calls of a line together: mean of equal bits by values, the worst of the others."""
    n = sum(found.n for _, found in calls)
    equal = sum(found.equal * found.n for _, found in calls) / n
    if equal == 1.0:
        return "1 | 0 | 0 | 1"
    ulp, rms = max(found.ulp for _, found in calls), max(found.rms for _, found in calls)
    return f"{equal:.4f} | {ulp:.0f} | {rms:.3%} | {min(found.pcc for _, found in calls):.6f}"


def versions(found: dict[str, Any]) -> str:
    lines = ["| column | chips | ttnn | compiler | simulator | date |", "|---|---|---|---|---|---|"]
    for label in verdicts.LABELS:
        for chips, made in found.get(label, {"provenance": {}})["provenance"].items():
            cells = [label, chips, *(made[name] for name in ("ttnn", "compiler", "simulator", "date"))]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def tests_table(found: dict[str, Any]) -> str:
    """A line for each test on the simulator: what it shows, its verdicts, what it measured."""
    ids = sorted({test for label in found.values() for test in label["tests"]})
    lines = ["| what | " + " | ".join(verdicts.LABELS) + " | seconds | measured |", "|---|---|---|---|---|"]
    reasons: dict[str, int] = {}
    for test in ids:
        seen = [found.get(label, {"tests": {}})["tests"].get(test) for label in verdicts.LABELS]
        best = next(verdict for verdict in reversed(seen) if verdict)
        measured = "; ".join(f"{name}: {value}" for name, value in best["measured"].items())
        cells = " | ".join(_cell(verdict, reasons) for verdict in seen)
        lines.append(f"| {_says(test)} | {cells} | {best['seconds']} | {measured} |")
    notes = [f"({number}) {reason}." for reason, number in reasons.items()]
    return "\n".join([*lines, "", *notes])


def _cell(verdict: dict[str, Any] | None, reasons: dict[str, int]) -> str:
    if verdict is None:
        return "not run"
    if verdict["outcome"] == "skipped":
        number = reasons.setdefault(verdict.get("reason", "no reason given"), len(reasons) + 1)
        return f"left out ({number})"
    return verdict["outcome"]


def _says(test: str) -> str:
    """`folder: name[parameter]` of a test, as words."""
    file, _, name = test.partition("::")
    name, _, parameter = name.partition("[")
    place = {"full": "whole model, 1 chip", "t3000": "8 chips"}.get(Path(file).parent.name, "1 chip")
    words = name.removeprefix("test_").replace("_", " ")
    return f"{place}: {words}" + (f", {parameter.rstrip(']')}" if parameter else "")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE.relative_to(REPOSITORY)}")
