"""`mixtral bench`, on an engine whose model says what a test wants.

.venv/bin/python -m pytest tests/cli/test_bench.py
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest

from tests.cli.conftest import Run

if TYPE_CHECKING:
    from tests.cli.stub import Stub

SVG = "{http://www.w3.org/2000/svg}"


def test_the_table_has_a_row_for_each_combination(mixtral: Run, stub: "Stub") -> None:
    done = mixtral("bench", "--batch", "1, 3", "--input", "5,70", "--output", "1,4", "--rounds", 2)
    assert done.code == 0
    header, rule, *rows = done.out.splitlines()
    assert [cell.strip() for cell in header.strip("|").split("|")] == [
        *("batch", "input", "output", "TTFT ms", "p99", "TPOT ms", "p99", "t/s/u", "t/s"),
        *("output tok/s", "total tok/s"),
    ]
    assert set(rule) == set("|-: ")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert [tuple(map(int, row[:3])) for row in cells] == [
        (batch, n_in, n_out) for n_in in (5, 70) for n_out in (1, 4) for batch in (1, 3)
    ]
    assert all(row[5:9] == ["-"] * 4 for row in cells if row[2] == "1")
    assert all(float(cell) >= 0 for row in cells for cell in row[3:] if cell != "-")
    prompts = [tuple(prompt) for prompt in stub.models[0].prompts]
    assert len(prompts) == 3 * (1 + 3) * 4  # a round that does not count and two that do
    assert sorted(set(map(len, prompts))) == [5, 70]
    assert stub.models[0].max_context == 74


def test_json_and_the_picture(mixtral: Run, stub: "Stub", tmp_path: Path) -> None:
    done = mixtral("bench", "--batch", "2", "--input", "3", "--output", "1,9", "--json", "--picture", "a b.svg")
    told = json.loads(done.out)
    assert told["model"] == "a stub"
    first, second = told["rows"]
    assert (first["users"], first["input_tokens"], first["output_tokens"]) == (2, 3, 1)
    assert first["tpot_ms_median"] is None
    assert second["tokens_s"] == pytest.approx(2 * second["tokens_s_user"])
    assert second["total_tokens_s"] == pytest.approx(second["output_tokens_s"] * 12 / 9)
    picture = ElementTree.fromstring((tmp_path / "a b.svg").read_text(encoding="utf-8"))
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert "2 x 3 in, 9 out" in texts
    assert f"{second['output_tokens_s']:,.1f}" in texts
    widths = [float(bar.get("width", "")) for bar in picture.iter(f"{SVG}rect")][1:]
    assert len(widths) == 3 * 2
    assert widths[:2] == [0.0, 230.0]


def test_p99_by_hand() -> None:
    from models.mixtral8x7b.cli.measure import p99

    assert p99([3.0]) == 3.0
    assert p99([float(n) for n in range(200, 0, -1)]) == 198.0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--batch", "1,,2"], 2, "--batch is '1,,2'; expected whole numbers of at least 1 with commas"),
        (["--input", "0"], 2, "--input is '0'; expected"),
        (["--output", "-3"], 2, "--output is '-3'; expected"),
        (["--picture", "a.png"], 2, "--picture is a.png; expected a name that ends with .svg"),
        (["--picture", "no/where.svg"], 2, "--picture is no/where.svg, and no is no folder"),
        (["--rounds", 0], 2, "invalid value for '--rounds'"),
    ],
)
def test_a_mistake_is_one_sentence(mixtral: Run, stub: "Stub", arguments: list, code: int, message: str) -> None:
    done = mixtral("bench", *arguments)
    assert (done.code, done.out, stub.models) == (code, "", [])
    assert done.sentence.startswith(f"mixtral: {message}")
