"""What no program may do while a trace is captured and not released, as it would spoil memory on chips.

A trace keeps the addresses of its temporary tensors, and the allocator does not know of them any more: what is
allocated later may get one, and a replay writes over it. So between a capture and the release of its trace

- no program is built: its binaries, and a collective's semaphores, would stay in memory for good;
- what is allocated is freed before the next `execute_trace`.

The real ttnn says a word at the first allocation, and only when its allocation tracker is switched on does it refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import ref

if TYPE_CHECKING:
    from ttnn_cpu.device import MeshDevice
    from ttnn_cpu.spec import TensorSpec
    from ttnn_cpu.tensor import Storage, Tensor


@dataclass(frozen=True)
class LateAllocation:
    """Made when `newest_trace` had been captured, and all traces that are older."""

    operation: str
    spec: TensorSpec
    storage: ref[Storage]
    newest_trace: int

    def is_alive(self) -> bool:
        storage = self.storage()
        return storage is not None and storage.allocated


def note_allocation(operation: str, device: MeshDevice, tensor: Tensor) -> None:
    """Of a tensor with a storage of its own."""
    if device.traces:
        late = LateAllocation(operation, tensor.spec, ref(tensor.storage), max(device.traces))
        device.late_allocations.append(late)


def refuse_new_program(operation: str, device: MeshDevice) -> None:
    """Raises RuntimeError if a trace lives."""
    if device.traces:
        raise RuntimeError(
            f"{operation}: its program was not built before the trace was captured, and what is built now stands where "
            "the trace writes: run the same operation once before the capture, or release the trace"
        )


def refuse_late_allocations(device: MeshDevice, trace_id: int) -> None:
    """Raises RuntimeError if something lives that was allocated after the trace was captured."""
    device.late_allocations = [late for late in device.late_allocations if late.is_alive()]
    for late in device.late_allocations:
        if late.newest_trace >= trace_id:
            spec = late.spec
            raise RuntimeError(
                f"execute_trace: what {late.operation} made after the trace was captured is still there, "
                f"{list(spec.shape)} {spec.dtype.name} in {spec.memory_config.buffer_type.name}: the trace may write "
                "over it; free it before, or make it before the capture"
            )
