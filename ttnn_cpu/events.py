"""Events: what the command queue had done when one was recorded. Here all is done when a call returns."""

from __future__ import annotations

from dataclasses import dataclass

from ttnn_cpu.device import MeshDevice


@dataclass(frozen=True, eq=False)
class MeshEvent:
    """Made by `record_event`."""

    mesh_device: MeshDevice


def record_event(mesh_device: MeshDevice, cq_id: int | None = None) -> MeshEvent:
    if not isinstance(mesh_device, MeshDevice):
        raise TypeError(f"record_event: mesh_device must be a MeshDevice, got {mesh_device!r}")
    if cq_id not in (None, 0):
        raise NotImplementedError(f"record_event: cq_id={cq_id!r} is not implemented, there is one command queue")
    if mesh_device.capture is not None:
        raise RuntimeError("record_event: not possible during trace capture")
    return MeshEvent(mesh_device)


def event_synchronize(mesh_event: MeshEvent) -> None:
    if not isinstance(mesh_event, MeshEvent):
        raise TypeError(f"event_synchronize: mesh_event must be a MeshEvent, got {mesh_event!r}")
