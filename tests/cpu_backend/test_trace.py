"""Traces: recorded, not run; run again into the same memory; the host kept out."""

from collections.abc import Callable

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, counters, get, open_mesh, put, sharded


class Counter:
    """A step that reads and writes device state: x += w, cache[position] = x, position += 1."""

    def __init__(self) -> None:
        self.mesh = open_mesh(2)
        self.x = put(self.mesh, torch.zeros(1, 1, 1, 32), memory_config=sharded("HEIGHT", 1, 32, 32))
        self.w = put(self.mesh, torch.ones(1, 1, 1, 32))
        self.cache = ttnn.zeros([2, 1, 32, 32], dtype=ttnn.float32, layout=TILE, device=self.mesh)
        self.position = counters(self.mesh, [0])
        self.pages = counters(self.mesh, [[1, 0]])

    def __call__(self) -> ttnn.Tensor:
        total = ttnn.add(self.x, self.w, memory_config=self.x.memory_config())
        doubled = ttnn.multiply(total, 2.0)
        ttnn.add_(self.x, self.w)
        ttnn.experimental.paged_update_cache(
            self.cache, self.x, update_idxs_tensor=self.position, page_table=self.pages
        )
        ttnn.plus_one(self.position, skip_negative_entries=True)
        total.deallocate()
        return doubled


def captured(step: Callable[[], ttnn.Tensor], mesh: ttnn.MeshDevice) -> tuple[ttnn.MeshTraceId, ttnn.Tensor]:
    trace = ttnn.begin_trace_capture(mesh, cq_id=0)
    result = step()
    ttnn.end_trace_capture(mesh, trace, cq_id=0)
    return trace, result


def test_capture_records_and_execute_runs() -> None:
    step = Counter()
    step()
    trace, result = captured(step, step.mesh)
    assert get(step.position).tolist() == [1], "nothing ran during capture"
    assert not get(result).isfinite().all(), "garbage until the trace runs"
    assert result.shape == [1, 1, 1, 32]
    for n in range(2, 40):
        ttnn.execute_trace(step.mesh, trace, cq_id=0, blocking=False)
        assert get(step.position).tolist() == [n]
        assert get(result).unique().tolist() == [2.0 * n]
    written = get(step.cache)[:, 0, :, 0]
    assert written[1].tolist() == [float(n) for n in range(1, 33)]
    assert written[0, :7].tolist() == [float(n) for n in range(33, 40)]
    ttnn.release_trace(step.mesh, trace)
    with pytest.raises(RuntimeError, match="no trace"):
        ttnn.execute_trace(step.mesh, trace)


def test_traced_equals_eager_bit_for_bit() -> None:
    def run(traced: bool) -> list[torch.Tensor]:
        torch.manual_seed(0)
        mesh = open_mesh(4)
        x, w = (
            put(mesh, torch.randn(1, 1, 32, 128), ttnn.bfloat16),
            put(mesh, torch.randn(4, 1, 128, 128), ttnn.bfloat8_b, shard=0),
        )

        def step() -> ttnn.Tensor:
            y = ttnn.linear(x, w, dtype=ttnn.bfloat16)
            y = ttnn.all_gather(ttnn.reduce_scatter(y, dim=3), dim=3)
            return ttnn.multiply_(x, ttnn.softmax(y, dim=-1))

        results = [get(step())]
        trace = captured(step, mesh)[0] if traced else None
        for _ in range(3):
            if trace is None:
                step()
            else:
                ttnn.execute_trace(mesh, trace)
            results.append(get(x))
        return results

    for eager, traced in zip(run(False), run(True), strict=True):
        assert torch.equal(eager, traced)


def test_the_host_is_kept_out() -> None:
    step = Counter()
    step()
    host = ttnn.from_torch(torch.zeros(1, 1, 1, 32), layout=TILE)
    trace = ttnn.begin_trace_capture(step.mesh)
    for crossing, message in (
        (lambda: get(step.x), "Reads are not supported"),
        (lambda: ttnn.from_device(step.x), "Reads are not supported"),
        (lambda: ttnn.to_device(host, step.mesh), "Writes are not supported"),
        (lambda: ttnn.copy_host_to_device_tensor(host, step.w), "Writes are not supported"),
        (lambda: ttnn.zeros([1], device=step.mesh), "Writes are not supported"),
        (lambda: ttnn.begin_trace_capture(step.mesh), "already being captured"),
        (lambda: ttnn.execute_trace(step.mesh, trace), "not possible during"),
        (lambda: ttnn.synchronize_device(step.mesh), "not supported during"),
    ):
        with pytest.raises(RuntimeError, match=message):
            crossing()
    ttnn.end_trace_capture(step.mesh, trace)


def test_operations_are_checked_during_capture() -> None:
    step = Counter()
    step()
    trace = ttnn.begin_trace_capture(step.mesh)
    with pytest.raises(RuntimeError, match="page table|page_table"):
        ttnn.experimental.paged_update_cache(step.cache, step.x, update_idxs_tensor=step.position, page_table=step.w)
    with pytest.raises(RuntimeError, match="run the same step once"):
        ttnn.silu(step.x)
    ttnn.end_trace_capture(step.mesh, trace)


def test_a_freed_operand_stops_the_trace() -> None:
    step = Counter()
    step()
    trace, _ = captured(step, step.mesh)
    step.w.deallocate()
    with pytest.raises(RuntimeError, match="was deallocated"):
        ttnn.execute_trace(step.mesh, trace)


def test_a_trace_needs_room() -> None:
    mesh = open_mesh(trace_region_size=0)
    with pytest.raises(RuntimeError, match="trace_region_size"):
        ttnn.begin_trace_capture(mesh)


def test_the_program_cache_is_stable_after_the_first_step() -> None:
    step = Counter()
    step()
    entries = step.mesh.num_program_cache_entries()
    step()
    assert step.mesh.num_program_cache_entries() == entries > 0
