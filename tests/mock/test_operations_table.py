"""docs/operations.md is what the tests show: no operation that the model calls is missing or unvouched."""

import ast

import pytest

from tests.mock.chip_usage import L1_BYTES_PER_CORE
from tests.mock.operations_table import FILE, ORACLES, golden_calls, table, vouched_for
from tests.mock.program import distinct_calls
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


def test_what_a_chip_is_asked_for(records: Records) -> None:
    decode, *prefills = records.usages
    assert decode.per_layer == 27, "the shortest list that was found; see models/mixtral8x7b/tt/"
    assert decode.device_operations == 2 * decode.per_layer + 20, "the rest: embedding, rotary tables, head, sampling"
    assert all(0 < usage.tensors < usage.total < L1_BYTES_PER_CORE for usage in records.usages)
    assert len({usage.total for usage in prefills}) == 1, "L1 does not grow with the prompt"
