"""What the CPU backend refuses as ttnn would (tests/cpu_backend/refused.py), the real ttnn does refuse."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ttnn

from tests.mock.on_the_real_ttnn import imported

TABLE = imported("refused").REFUSED_BY_TTNN


@pytest.fixture(scope="module")
def tensors() -> Iterator[Any]:
    mesh = imported("helpers").open_mesh(8)
    yield imported("calls").Tensors(mesh)
    ttnn.close_mesh_device(mesh)
    ttnn.set_fabric_config(ttnn.FabricConfig.DISABLED)


def test_the_table_is_long_enough() -> None:
    assert len(TABLE) >= 40


@pytest.mark.parametrize(("message", "call"), TABLE, ids=[f"{i}-{m[:24]}" for i, (m, _) in enumerate(TABLE)])
def test_the_real_library_refuses_too(tensors: Any, message: str, call: Callable[[Any], Any]) -> None:
    with pytest.raises(RuntimeError):
        call(tensors)


@pytest.mark.parametrize("call", [call for _, call in imported("refused").TAKEN_BY_TTNN])
def test_the_real_library_takes_what_its_kernels_cannot_do(tensors: Any, call: Callable[[Any], Any]) -> None:
    """When one of these is refused at last, the CPU backend's refusal can go into the other table."""
    call(tensors)


def test_the_unbroken_calls_pass(tensors: Any) -> None:
    """Those of the table differ from these in one place: it is that place which is refused."""
    calls = imported("calls")
    for call in (calls.update, calls.fused_update, calls.fill, calls.decode, calls.rope, calls.create):
        call(tensors)
    calls.chunked(tensors, chunk_start_idx=0)
    tensors.sample()
    ttnn.linear(tensors.x, tensors.wqkv, program_config=calls.dram_config(4, 1), memory_config=calls.WSH)
    ttnn.rms_norm(tensors.x, program_config=calls.norm_config(4, 4), memory_config=calls.RES)
    one_dimensional = tensors(1, 1, 4096, 64)
    ttnn.linear(tensors.x, one_dimensional, program_config=calls.one_config(), memory_config=calls.L1)
    tall, weight = tensors(1, 1, 1024, 4096), tensors(1, 1, 4096, 768, dtype=calls.B8)
    ttnn.linear(tall, weight, program_config=calls.two_config())
    ttnn.reduce_scatter(tensors.plain, dim=3)
    ttnn.topk(tensors(1, 1, 32, 64), 32)
