"""Recorded calls: taken while the real ttnn runs, made again on ttnn_cpu."""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from ttnn_cpu.canonical import canonical, is_tensor
from ttnn_cpu.operations import OPERATIONS
from ttnn_cpu.witness.values import Recorded, from_data, on_cpu_mesh, recorded, to_data

# moves between host and chips, and what gives no values
_NOT_RECORDED = {
    *("from_torch", "to_torch", "to_device", "from_device", "copy_host_to_device_tensor", "as_tensor", "load_tensor"),
    *("zeros", "ones", "full", "manual_seed"),
}


@dataclass(frozen=True)
class RecordedCall:
    """One call. `inputs`: its tensors as they were before; `results`: its outputs, then what it changed of those."""

    operation: str  # with its namespace
    program: str  # what was being run
    positional: list[Any]  # as JSON; a tensor is its place in `inputs`
    named: dict[str, Any]
    inputs: tuple[Recorded, ...]
    changed: tuple[int, ...]  # places in `inputs`
    results: tuple[Recorded, ...]

    def on_cpu(self, mesh: Any) -> list[Recorded]:
        """What ttnn_cpu gives for the same call."""
        import ttnn_cpu

        tensors = [on_cpu_mesh(tensor, mesh) for tensor in self.inputs]
        positional = [from_data(value, mesh, tensors) for value in self.positional]
        named = {name: from_data(value, mesh, tensors) for name, value in self.named.items()}
        namespace, _, name = self.operation.rpartition(".")
        outputs = OPERATIONS[namespace][name](*positional, **named)
        found = [*_tensors_of(outputs), *(tensors[i] for i in self.changed)]
        return [recorded(ttnn_cpu, tensor) for tensor in found]


@contextmanager
def recording(ttnn: ModuleType, wanted: frozenset[str], program: str, seen: set[str]) -> Iterator[list[RecordedCall]]:
    """Records each different call of the wanted operations (empty: all of them) made inside, once.

    What is in `seen` is left out; what was recorded is added to it.
    """
    calls: list[RecordedCall] = []
    with watching(ttnn, wanted, program, seen, calls.append):
        yield calls


@contextmanager
def watching(
    ttnn: ModuleType,
    wanted: frozenset[str],
    program: str,
    seen: set[str],
    take: Callable[[RecordedCall], None],
    begin: Callable[[str], None] = lambda operation: None,
) -> Iterator[None]:
    """The same, but each call is handed over as soon as it is made; `begin` is told of each operation before."""
    with ExitStack() as stack:
        for namespace, functions in OPERATIONS.items():
            owner = getattr(ttnn, namespace) if namespace else ttnn
            for name in functions:
                full = f"{namespace}.{name}" if namespace else name
                if name in _NOT_RECORDED or (wanted and full not in wanted):
                    continue
                real = getattr(owner, name)
                stack.callback(setattr, owner, name, real)
                setattr(owner, name, _wrapped(ttnn, full, real, program, take, begin, seen))
        yield


def _wrapped(
    ttnn: ModuleType,
    name: str,
    real: Callable[..., Any],
    program: str,
    take: Callable[[RecordedCall], None],
    begin: Callable[[str], None],
    seen: set[str],
) -> Callable[..., Any]:
    @functools.wraps(real, updated=())
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        line = f"{name} {canonical(args)} {canonical(list(kwargs.items()))}"
        if line in seen:
            return real(*args, **kwargs)
        seen.add(line)
        given: list[Any] = []
        positional = [to_data(value, given) for value in args]
        named = {key: to_data(value, given) for key, value in kwargs.items()}
        before = [recorded(ttnn, tensor) for tensor in given]
        begin(name)
        outputs = real(*args, **kwargs)
        after = [recorded(ttnn, tensor) for tensor in given]
        changed = tuple(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if (a.values != b.values).any())
        found = [recorded(ttnn, tensor) for tensor in _tensors_of(outputs)]
        results = (*found, *(after[i] for i in changed))
        take(RecordedCall(name, program, positional, named, tuple(before), changed, results))
        return outputs

    return wrapper


def _tensors_of(outputs: Any) -> list[Any]:
    listed = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [output for output in listed if is_tensor(output)]
