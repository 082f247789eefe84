"""docs/operations.md is what the tests show: no operation that the model calls is missing or unvouched."""

import ast

import pytest
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh
from tests.mock.chip_usage import L1_BYTES_PER_CORE, LENGTHS, l1_peak, programs
from tests.mock.operations_table import FILE, ORACLES, golden_calls, table, vouched_for, worked_examples
from tests.mock.program import PRESETS, distinct_calls
from tests.mock.records import REPOSITORY, Records


def test_the_file_is_up_to_date(records: Records) -> None:
    assert FILE.read_text(encoding="utf-8") == table(records), "write it anew: python -m tests.mock.operations_table"


def test_something_vouches_for_every_operation(records: Records) -> None:
    called = distinct_calls(records.mock)
    assert {name for name in called if vouched_for(name) == "**nothing**"} == set()
    assert set(ORACLES) <= set(called), "an oracle for what is no longer called"
    assert not set(ORACLES) & set(golden_calls())


@pytest.mark.parametrize(("operation", "oracle"), ORACLES.items())
def test_the_oracles_exist(operation: str, oracle: str) -> None:
    file, function = oracle.split("::")
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    assert function in {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    used = text if file.startswith("tests/mock") else text + (REPOSITORY / "tests/cpu_backend/helpers.py").read_text()
    assert operation.split(".")[-1] in used


def test_every_operation_of_its_own_kind_has_a_worked_example(records: Records) -> None:
    """Those that split, join, turn, page or draw: a wrong guess at what they mean looks like numbers all the same."""
    called = distinct_calls(records.mock)
    own = {name for name in called if name.startswith("experimental.") or "paged" in name or "chunked" in name}
    examples = worked_examples()
    assert set(examples) == {name.split(".")[-1] for name in own | {"sampling"}}
    for operation, text in examples.items():
        assert f".{operation}(" in text


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_chip_is_asked_for(records: Records, preset: str) -> None:
    decode, noting, *prefills = usages = [usage for usage in records.usages if usage.preset == preset]
    assert [usage.program.split()[2] for usage in prefills] == [str(length) for length in LENGTHS]
    assert decode.per_layer == 26, "the shortest list that was found; see models/mixtral8x7b/tt/"
    assert decode.device_operations == 2 * decode.per_layer + 22, "the rest: embedding, rotary tables, head, sampling"
    assert (noting.per_layer, noting.device_operations) == (27, decode.device_operations + 2), "a copy for each layer"
    assert all(0 < usage.l1.tensors < usage.l1.total < L1_BYTES_PER_CORE for usage in usages)
    assert max(usage.l1.total for usage in prefills) < 1.01 * min(usage.l1.total for usage in prefills), (
        "it hardly grows"
    )


@pytest.mark.parametrize(
    ("preset", "program"), [("performance", "decode step of 32 rows"), ("accuracy", "prefill of 1024 tokens")]
)
def test_32_layers_take_no_more_l1(mesh: Mesh, records: Records, preset: str, program: str) -> None:
    (of_two_layers,) = (usage.l1 for usage in records.usages if (usage.preset, usage.program) == (preset, program))
    run = programs(mesh, preset, 32)[program]
    run()  # the first time the collectives make their semaphores
    assert l1_peak(ttnn, run) == of_two_layers
