"""The CPU backend and the real ttnn, given the same program, say the same about every call.

operation, arguments, and each output's shape, padded shape, dtype, layout and memory config; recorded in two processes.
"""

import pytest

from tests.mock.program import SECTIONS
from tests.mock.records import Records


@pytest.mark.parametrize("name", SECTIONS)
def test_the_same_lines(records: Records, name: str) -> None:
    on_cpu, on_mock = records.cpu[name]["lines"], records.mock[name]["lines"]
    attention = records.mock[name]["names"].count("transformer.paged_scaled_dot_product_attention_decode")
    assert attention == 2 * SECTIONS[name].config.n_layers, "a plain decode step and one that notes the experts"
    for number, (ours, real) in enumerate(zip(on_cpu, on_mock, strict=False)):
        assert ours == real, f"call {number} differs"
    assert len(on_cpu) == len(on_mock)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_same_transfers(records: Records, name: str) -> None:
    for count in ("host_writes", "host_reads"):
        assert records.cpu[name][count] == records.mock[name][count]
    assert records.mock[name]["host_writes"] > 0
