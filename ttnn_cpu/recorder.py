"""Record the calls that a program makes, of this backend or of the real ttnn, in one form that can be compared.

    with ttnn_cpu.record(ttnn) as calls:
        model.forward_decode(...)
    print(calls.text())

A record is one public call: its name, its arguments in a canonical text, the specs of its outputs. Calls made inside a
call are not recorded. Both libraries give the same lines for the same program if they agree.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ttnn_cpu.canonical import canonical, is_tensor, on_device, spec_text
from ttnn_cpu.operations import OPERATIONS

_NAMESPACES = ("", "experimental", "transformer")
# calls that move data between host and device, or could
_WRITES = ("from_torch", "to_device", "as_tensor", "load_tensor", "copy_host_to_device_tensor", "zeros", "ones", "full")
_READS = ("to_torch", "from_device")
_TRANSFERS = (*_WRITES, *_READS)
# The real library's operations have this class; by it those are found that this backend lacks.
_REAL_OPERATION = "FastOperation"
# no operations: they allocate, free, or only describe
_LEFT_OUT = frozenset({"deallocate", "empty"})


@dataclass(frozen=True)
class Call:
    """One call. `arguments` pairs parameter names with canonical texts, in the order of the signature."""

    name: str
    inputs: tuple[str, ...]
    arguments: tuple[tuple[str, str], ...]
    outputs: tuple[str, ...]

    def line(self) -> str:
        arguments = ", ".join(f"{name}={text}" for name, text in self.arguments)
        return f"{self.name}({arguments}) -> {'; '.join(self.outputs)}"


@dataclass
class Calls(Sequence[Call]):
    """The records in order, and how often data crossed between host and device."""

    records: list[Call] = field(default_factory=list)
    host_writes: int = 0
    host_reads: int = 0

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: Any) -> Any:
        return self.records[index]

    def lines(self) -> list[str]:
        return [call.line() for call in self.records]

    def text(self) -> str:
        return "\n".join(self.lines())


@contextmanager
def record(module: ModuleType) -> Iterator[Calls]:
    """Wrap the public operations and transfers of `module`, `module.experimental` and `module.transformer` inside.

    Calls through a name that was imported before (`from ttnn import linear`) and through methods of a tensor
    are missed.
    """
    calls = Calls()
    depth = [0]
    with ExitStack() as stack:
        for namespace in _NAMESPACES:
            owner = getattr(module, namespace) if namespace else module
            for name, function in _operations(owner, namespace):
                full_name = f"{namespace}.{name}" if namespace else name
                wrapper = _wrapped(full_name, function, _signature(namespace, name), calls, depth)
                stack.callback(setattr, owner, name, function)
                setattr(owner, name, wrapper)
        yield calls


def _operations(owner: Any, namespace: str) -> list[tuple[str, Callable[..., Any]]]:
    """Every operation of `owner` by name: those this backend has, and whatever else the real library calls one."""
    ours = OPERATIONS[namespace]
    found = []
    for name in dir(owner):
        value = getattr(owner, name, None)
        if name in _LEFT_OUT or not callable(value):
            continue
        if name in ours or type(value).__name__ == _REAL_OPERATION:
            found.append((name, value))
    return found


def _signature(namespace: str, name: str) -> inspect.Signature | None:
    """This backend's signature binds the arguments of both libraries: they share names and order."""
    function = OPERATIONS[namespace].get(name)
    return None if function is None else inspect.signature(function)


def _wrapped(
    name: str, function: Callable[..., Any], signature: inspect.Signature | None, calls: Calls, depth: list[int]
) -> Callable[..., Any]:
    @functools.wraps(function, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if depth[0]:
            return function(*args, **kwargs)
        # before the call, which may change what it is given (in place operations, lists)
        bound = _bound(signature, args, kwargs)
        values = list(bound.values())
        tensors = [t for v in values for t in (v if isinstance(v, list | tuple) else (v,)) if is_tensor(t)]
        inputs = tuple(spec_text(tensor) for tensor in tensors)
        arguments = tuple((key, canonical(value)) for key, value in bound.items() if value is not None)
        depth[0] += 1
        try:
            result = function(*args, **kwargs)
        finally:
            depth[0] -= 1
        outputs = result if isinstance(result, list | tuple) else (result,)
        specs = tuple(spec_text(output) if is_tensor(output) else canonical(output) for output in outputs)
        calls.records.append(Call(name, inputs, arguments, specs))
        if name in _WRITES:
            crossed = name == "copy_host_to_device_tensor" or (is_tensor(result) and on_device(result))
            calls.host_writes += crossed
        elif name in _READS and tensors:
            calls.host_reads += on_device(tensors[0])
        return result

    return wrapper


def _bound(signature: inspect.Signature | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments by parameter name. Without a signature, or where it does not fit, positional ones are numbered."""
    if signature is not None:
        try:
            return dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:
            pass  # an overload or a keyword that only the real library has
    return {**{f"[{index}]": value for index, value in enumerate(args)}, **kwargs}
