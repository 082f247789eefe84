"""`mixtral cost`: the table, each operation, and the picture.

.venv/bin/python -m pytest --target cpu tests/cli/test_cost.py
"""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Run

SVG = "{http://www.w3.org/2000/svg}"
_OPERATION = re.compile(r" *(?P<us>[\d.]+)  +(?P<share>[\d.]+)  +(?P<times>\d+)  +(?P<rest>.*)")


def test_the_table_the_operations_and_the_picture(mixtral: Run, tmp_path: Path) -> None:
    done = mixtral(
        *("cost", "--precision", "mixed", "--batch", "1,32", "--context", "128,4096", "--prompt", "100"),
        *("--operations", "--plot", "a b.svg"),
    )
    assert done.code == 0
    head, errors, *lines = done.out.splitlines()
    assert head == "modelled, not measured: Mixtral 8x7B on 8 Wormhole chips, ring"
    assert "17%" in errors
    steps = [line for line in lines[:4]]
    for line, (users, context) in zip(steps, [(1, 128), (1, 4096), (32, 128), (32, 4096)], strict=True):
        assert re.match(rf"modelled  mixed        batch +{users}  context +{context}  +[\d.]+ tokens/s/user \(", line)
    firsts = lines[4:6]
    assert ["batch  1  prompt    100" in firsts[0], "batch 32  prompt    100" in firsts[1]] == [True, True]
    beside = [line for line in lines if "as fast as Tenstorrent's own" in line]
    assert len(beside) == 4 + 2
    # each operation's us sum to the last line's, which is followed by the distance to the roof
    operations = [match for match in map(_OPERATION.fullmatch, lines) if match]
    last = next(i for i, match in enumerate(operations) if match["share"] == "100.0")
    assert sum(float(match["us"]) for match in operations[:last]) == pytest.approx(float(operations[last]["us"]), abs=9)
    assert sum(int(match["times"]) for match in operations[:last]) == int(operations[last]["times"])
    assert sum(line.startswith("expected ") for line in lines) == 2
    picture = ElementTree.fromstring((tmp_path / "a b.svg").read_text(encoding="utf-8"))
    texts = [text.text or "" for text in picture.iter(f"{SVG}text")]
    assert "Mixtral 8x7B, mixed: modelled, not measured" in texts
    assert {"batch 32, context 4096", "32 x 100 tokens to the first"} <= set(texts)
    bars = [(float(bar.get("x", 0)), float(bar.get("width", 0))) for bar in picture.iter(f"{SVG}rect")][1:]
    assert len(bars) == 2 * 10 * 2 + 5 + 5 * 6  # two programs' ten largest with their roofs, the legend, the stacks
    for stack in range(6):
        assert sum(width for _, width in bars[45 + 5 * stack : 50 + 5 * stack]) == pytest.approx(460, abs=0.3)


def test_fewer_chips_on_a_line_stand_beside_nobody(mixtral: Run) -> None:
    done = mixtral(
        *("cost", "--precision", "bfp4", "--chips", 4, "--fabric", "line"),
        *("--batch", 3, "--context", 200, "--prompt", 100),
    )
    assert done.code == 0
    assert done.out.startswith("modelled, not measured: Mixtral 8x7B on 4 Wormhole chips, line\n")
    assert "Tenstorrent" not in done.out
