"""The cost model counts the device operations that ttnn's graph capture shows on the mocked T3000.

.venv/bin/python -m pytest --target mock tests/mock/test_cost.py
"""

from collections import Counter
from collections.abc import Callable

import pytest
import ttnn

from models.mixtral8x7b.cost.calls import Load, costs_of
from models.mixtral8x7b.tt.mesh import Mesh
from tests.mock.chip_usage import captured, programs
from ttnn_cpu import record


@pytest.fixture(scope="module")
def of_one_layer(mesh: Mesh) -> dict[str, Callable[[], None]]:
    return programs(mesh, "performance", 1)


@pytest.mark.parametrize(
    ("name", "pieces"),
    [
        ("decode step of 32 rows", ()),
        ("prefill of 1024 tokens", ((1024, 0),)),
        ("prefill of 2048 tokens", ((2048, 0),)),
        ("prefill of 32768 tokens", ((16384, 16384),)),
    ],
)
def test_each_call_is_as_many_operations(
    of_one_layer: dict[str, Callable[[], None]], name: str, pieces: tuple[tuple[int, int], ...]
) -> None:
    run = of_one_layer[name]
    with record(ttnn) as calls:
        run()
    costed: Counter[str] = Counter()
    for call in calls:
        costed[call.name] += len(costs_of(call, Load(8, pieces=pieces, share=0.3)))
    assert +costed == _launched(ttnn, run)
    assert costed.total() > 40


def _launched(ttnn_module: object, run: Callable[[], None]) -> Counter[str]:
    """Device operations by the call that launches them."""
    found: Counter[str] = Counter()
    calling: list[str] = []
    for node in captured(ttnn_module, run):
        if node["node_type"] == "function_start":
            name = node["params"]["name"]
            if name.endswith("DeviceOperation") or name == "SDPAOperation":
                found[calling[0].removeprefix("ttnn.").replace("::", ".")] += 1
            calling.append(name)
        elif node["node_type"] == "function_end":
            calling.pop()
    return found
