"""Traces: record a program once, run it again with one call.

Between `begin_trace_capture` and `end_trace_capture` operations are checked, their outputs allocated, and they are
recorded but not run, as on silicon. Their outputs are undefined until `execute_trace`, which runs every recorded
operation again into the same storages. The host can neither read nor write during capture, and an operation must have
run before (its program is built and uploaded then, which a capture cannot do).
Until a trace is released, `live_traces` says what no program may do.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import NewType

from ttnn_cpu.device import MeshDevice
from ttnn_cpu.live_traces import refuse_late_allocations

MeshTraceId = NewType("MeshTraceId", int)
_ids = count()


class Trace:
    """The recorded operations, in order."""

    def __init__(self, trace_id: MeshTraceId) -> None:
        self.id = trace_id
        self.steps: list[Callable[[], None]] = []


def _check(operation: str, mesh_device: MeshDevice, cq_id: int | None) -> None:
    if not isinstance(mesh_device, MeshDevice):
        raise TypeError(f"{operation}: mesh_device must be a MeshDevice, got {mesh_device!r}")
    if cq_id not in (None, 0):
        raise NotImplementedError(f"{operation}: cq_id={cq_id!r} is not implemented, there is one command queue")


def begin_trace_capture(mesh_device: MeshDevice, *, cq_id: int | None = None) -> MeshTraceId:
    _check("begin_trace_capture", mesh_device, cq_id)
    if mesh_device.capture is not None:
        raise RuntimeError("begin_trace_capture: a trace is already being captured")
    if mesh_device.trace_region_size == 0:
        raise RuntimeError("begin_trace_capture: the mesh was opened with trace_region_size = 0, a trace has no place")
    mesh_device.capture = Trace(MeshTraceId(next(_ids)))
    return mesh_device.capture.id


def end_trace_capture(mesh_device: MeshDevice, trace_id: MeshTraceId, *, cq_id: int | None = None) -> None:
    _check("end_trace_capture", mesh_device, cq_id)
    if mesh_device.capture is None or mesh_device.capture.id != trace_id:
        raise RuntimeError(f"end_trace_capture: trace {trace_id} is not being captured")
    mesh_device.traces[trace_id] = mesh_device.capture
    mesh_device.capture = None


def execute_trace(
    mesh_device: MeshDevice, trace_id: MeshTraceId, *, cq_id: int | None = None, blocking: bool = True
) -> None:
    """Run the trace; `blocking` makes no difference here, the values are there on return."""
    _check("execute_trace", mesh_device, cq_id)
    if mesh_device.capture is not None:
        raise RuntimeError("execute_trace: not possible during trace capture")
    if trace_id not in mesh_device.traces:
        raise RuntimeError(f"execute_trace: there is no trace {trace_id} on this mesh")
    refuse_late_allocations(mesh_device, trace_id)
    for step in mesh_device.traces[trace_id].steps:
        step()


def release_trace(mesh_device: MeshDevice, trace_id: MeshTraceId) -> None:
    if mesh_device.traces.pop(trace_id, None) is None:
        raise RuntimeError(f"release_trace: there is no trace {trace_id} on this mesh")
    if not mesh_device.traces:
        mesh_device.late_allocations.clear()


def refuse_during_capture(device: MeshDevice | None, what: str) -> None:
    """`what` is "Reads" or "Writes"."""
    if device is not None and device.capture is not None:
        raise RuntimeError(f"{what} are not supported during trace capture.")
