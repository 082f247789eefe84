"""Traces: recorded, not run; run again into the same memory; the host kept out."""

from collections.abc import Callable

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import TILE, counters, get, open_mesh, put, sharded


class Counter:
    """A step that reads and writes device state: x += w, cache[position] = x, position += 1."""

    def __init__(self, mesh: ttnn.MeshDevice | None = None) -> None:
        self.mesh = open_mesh(2) if mesh is None else mesh
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


# ---------------------------------------------------------------- while a trace lives


def test_no_program_is_built_while_a_trace_lives() -> None:
    """Another operation, shape, dtype or setting is another program; one that was built before may run."""
    step = Counter()
    step()
    wide, weight = put(step.mesh, torch.ones(1, 1, 32, 64)), put(step.mesh, torch.ones(1, 1, 64, 64))
    fine = ttnn.WormholeComputeKernelConfig(math_fidelity=ttnn.MathFidelity.HiFi4)
    for matrix in (wide, weight):
        ttnn.matmul(matrix, weight).deallocate()
    trace, _ = captured(step, step.mesh)
    step()
    ttnn.matmul(wide, weight).deallocate()
    for operation, new in (
        ("silu", lambda: ttnn.silu(step.x)),
        ("add", lambda: ttnn.add(wide, wide)),
        ("matmul", lambda: ttnn.matmul(wide, weight, dtype=ttnn.bfloat16)),
        ("matmul", lambda: ttnn.matmul(wide, weight, compute_kernel_config=fine)),
    ):
        with pytest.raises(RuntimeError, match=f"^{operation}: its program was not built before the trace"):
            new()
    ttnn.execute_trace(step.mesh, trace)
    ttnn.release_trace(step.mesh, trace)
    ttnn.silu(step.x)


def test_what_is_allocated_while_a_trace_lives_must_be_gone_before_its_next_run() -> None:
    step = Counter()
    step()
    mesh = step.mesh
    host = ttnn.from_torch(torch.zeros(1, 1, 7, 32))
    trace, _ = captured(step, mesh)
    for operation, make in (
        ("empty", lambda: ttnn.empty([1, 1, 7, 32], ttnn.bfloat16, device=mesh)),
        ("zeros", lambda: ttnn.zeros([1, 1, 7, 32], device=mesh)),
        ("to_device", lambda: ttnn.to_device(host, mesh)),
        ("add", lambda: ttnn.add(step.x, step.w, memory_config=step.x.memory_config())),
    ):
        made = make()
        view = ttnn.unsqueeze_to_4D(made)
        with pytest.raises(RuntimeError, match=f"^execute_trace: what {operation} made after the trace was captured"):
            ttnn.execute_trace(mesh, trace)
        before = get(step.position).tolist()
        made.deallocate()
        ttnn.execute_trace(mesh, trace)
        assert get(step.position).tolist() == [before[0] + 1]
        make()  # Python drops it, which frees it too
        ttnn.execute_trace(mesh, trace)
        assert not view.is_allocated()
    ttnn.copy_host_to_device_tensor(ttnn.from_torch(torch.tensor([5], dtype=torch.int32)), step.position)
    ttnn.execute_trace(mesh, trace)
    assert get(step.position).tolist() == [6]


def test_of_several_traces_only_the_older_ones_are_in_danger() -> None:
    first = Counter()
    mesh = first.mesh
    second = Counter(mesh)
    first()
    second()
    older, _ = captured(first, mesh)
    between = ttnn.empty([1, 1, 7, 32], ttnn.bfloat16, device=mesh)
    younger, _ = captured(second, mesh)
    ttnn.execute_trace(mesh, younger)
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"what empty made .* \[1, 1, 7, 32\] BFLOAT16 in DRAM: the trace may"):
            ttnn.execute_trace(mesh, older)
    ttnn.release_trace(mesh, older)
    ttnn.execute_trace(mesh, younger)
    assert between.is_allocated()
