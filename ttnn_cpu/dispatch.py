"""How an operation runs: the one place that allocates outputs, computes, rounds, records a trace.

An operation is two parts. The first checks its arguments and works out the specs of its outputs; the second is a pure
function from the inputs' values to the outputs' values. `run` puts them together, so that the same operation serves
eager execution, traces (recorded now, run later) and meshes that know specs only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import torch

from ttnn_cpu.blocks import Blocks
from ttnn_cpu.by_rows import ByRows
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.enums import FLOATS, UNSIGNED_BITS, DataType
from ttnn_cpu.live_traces import note_allocation, refuse_new_program
from ttnn_cpu.loops import without_torch_threads
from ttnn_cpu.modes import is_exact
from ttnn_cpu.spec import TensorSpec, storage_dtype
from ttnn_cpu.tensor import Storage, Tensor, Unmade

_LONG = 1 << 20  # values of all devices: some milliseconds

Values = torch.Tensor
Compute = Callable[..., "Values | Blocks | ByRows | Sequence[Values]"]
Rounding = Callable[[Values, DataType], Values]


def as_stored(values: Values, dtype: DataType, rounding: Rounding) -> Values:
    """Any values -> the float32 or integer values that a tensor of `dtype` holds. Of `rounding` there is one for the
    host (`rounding.on_host`) and three for the chips (in `chip_rounding`)."""
    if dtype in FLOATS:
        if values.dtype is not torch.float32:
            values = values.to(torch.float32)
        return values if is_exact() else rounding(values, dtype)
    if values.is_floating_point():
        values = values.trunc().to(torch.int64)
    if dtype in UNSIGNED_BITS:  # unsigned integers wrap around
        bits = UNSIGNED_BITS[dtype]
        values = values.to(torch.int64) & ((1 << bits) - 1)
    return values.to(storage_dtype(dtype))


def mesh_of(operation: str, *inputs: Tensor | None) -> MeshDevice:
    """The mesh of the inputs. Raises if one is no tensor, not on a device, deallocated or on another mesh."""
    device: MeshDevice | None = None
    for tensor in inputs:
        if tensor is None:
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{operation}: expected a ttnn Tensor, got {type(tensor).__name__}")
        here = tensor.device()
        if here is None:
            raise RuntimeError(
                f"{operation}: device operations expect device tensors as inputs, got a host tensor {tensor.spec}"
            )
        if not tensor.storage.allocated:
            raise RuntimeError(f"{operation}: input tensor is not allocated (it was deallocated): {tensor.spec}")
        if device is not None and here is not device:
            raise RuntimeError(f"{operation}: inputs are on different meshes")
        device = here
    assert device is not None
    if not device.is_open:
        raise RuntimeError(f"{operation}: the mesh is closed")
    return device


def run(
    operation: str,
    inputs: Sequence[Tensor],
    specs: Sequence[TensorSpec],
    compute: Compute,
    *,
    into: Sequence[Tensor] | None = None,
    takes: tuple[type[Unmade], ...] = (),
    rounding: Rounding = packed,
    settings: tuple[object, ...] = (),
) -> list[Tensor]:
    """Run `compute(*values of inputs)` into new tensors of `specs`, or into the storages of the tensors `into`.

    `compute` may give the values of one output as `Blocks` or `ByRows`, and is given in a form that it `takes` what is
    kept in it.
    `rounding` takes them to the dtype of the output: `moved` for an operation that computes nothing. `settings` shape
    the program beside the specs.
    """
    device = mesh_of(operation, *inputs, *(into or ()))
    outputs = list(into) if into else [_allocated(operation, spec, device) for spec in specs]

    def store(results: Values | Blocks | ByRows | Sequence[Values]) -> None:
        if isinstance(results, ByRows) and any(tensor.storage.mutable for tensor in inputs):
            results = results()  # later they would be others
        if isinstance(results, Blocks | ByRows):
            (output,) = outputs
            output.storage.values = results.mapped(lambda made: as_stored(made, output.spec.dtype, rounding))
            output.storage.mutable = False
            return
        for output, values in zip(outputs, (results,) if isinstance(results, torch.Tensor) else results, strict=True):
            values = as_stored(values, output.spec.dtype, rounding)
            for tensor in inputs:
                storage = tensor.storage
                if storage.mutable and storage.unmade is None and _share_memory(values, storage.values):
                    values = values.clone()
            output.storage.values = values
            output.storage.mutable = False

    key = (operation, *(t.spec for t in inputs), *(t.spec for t in outputs), *settings)
    is_long = max(prod(tensor.spec.shape) for tensor in outputs) * device.num_devices > _LONG

    def step() -> None:
        store(compute(*[tensor.values_or(*takes) for tensor in inputs]))

    submit(operation, device, key, inputs, step if is_long else partial(without_torch_threads, step))
    return outputs


def _allocated(operation: str, spec: TensorSpec, device: MeshDevice) -> Tensor:
    tensor = Tensor(spec, Storage(None), device, device.num_devices)
    note_allocation(operation, device, tensor)
    return tensor


def submit(
    operation: str, device: MeshDevice, key: tuple[object, ...], inputs: Sequence[Tensor], step: Callable[[], None]
) -> None:
    """Run `step` now, or record it while a trace is captured, or neither on a mesh that knows specs only."""
    if device.capture is None:
        if key not in device.programs:
            refuse_new_program(operation, device)
            device.programs.add(key)
        if not device.specs_only:
            step()
        return
    if key not in device.programs:
        raise RuntimeError(
            f"{operation}: its program is not in the cache, and a program cannot be built during trace capture: "
            "run the same step once before capturing it"
        )
    if device.specs_only:
        return
    # operands from before the capture must still be there; the others are made anew by each run
    read = [tensor for tensor in inputs if tensor.storage.has_values]

    def replay() -> None:
        if not all(tensor.storage.has_values for tensor in read):
            raise RuntimeError(f"execute_trace: a tensor that the captured {operation} reads was deallocated")
        step()

    device.capture.steps.append(replay)


def _share_memory(values: Values, other: Values | None) -> bool:
    return other is not None and values.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()
