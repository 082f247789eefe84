"""Recorded calls: taken while the real ttnn runs, kept in files, made again on ttnn_cpu."""

import functools
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from tests.recorded.values import Recorded, from_data, on_cpu_mesh, recorded, to_data
from ttnn_cpu.canonical import canonical, is_tensor
from ttnn_cpu.operations import OPERATIONS

DATA = Path(__file__).resolve().parents[1] / "data"
ALONE = DATA / "alone"  # of single calls, not of a model
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
    with ExitStack() as stack:
        for namespace, functions in OPERATIONS.items():
            owner = getattr(ttnn, namespace) if namespace else ttnn
            for name in functions:
                full = f"{namespace}.{name}" if namespace else name
                if name in _NOT_RECORDED or (wanted and full not in wanted):
                    continue
                real = getattr(owner, name)
                stack.callback(setattr, owner, name, real)
                setattr(owner, name, _wrapped(ttnn, full, real, program, calls, seen))
        yield calls


def _wrapped(
    ttnn: ModuleType, name: str, real: Callable[..., Any], program: str, calls: list[RecordedCall], seen: set[str]
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
        outputs = real(*args, **kwargs)
        after = [recorded(ttnn, tensor) for tensor in given]
        changed = tuple(i for i, (a, b) in enumerate(zip(before, after, strict=True)) if (a.values != b.values).any())
        found = [recorded(ttnn, tensor) for tensor in _tensors_of(outputs)]
        results = (*found, *(after[i] for i in changed))
        calls.append(RecordedCall(name, program, positional, named, tuple(before), changed, results))
        return outputs

    return wrapper


def _tensors_of(outputs: Any) -> list[Any]:
    listed = outputs if isinstance(outputs, list | tuple) else [outputs]
    return [output for output in listed if is_tensor(output)]


def write(file: Path, calls: list[RecordedCall], provenance: dict[str, str]) -> None:
    """All calls of one operation; equal arrays are kept once."""
    arrays: dict[bytes, int] = {}
    stored: dict[str, np.ndarray] = {}

    def kept(tensor: Recorded) -> dict[str, Any]:
        content = tensor.values.tobytes() + str(tensor.values.dtype).encode() + str(tensor.values.shape).encode()
        if content not in arrays:
            arrays[content] = len(arrays)
            stored[f"array{arrays[content]}"] = tensor.values
        return {**{k: v for k, v in vars(tensor).items() if k != "values"}, "array": arrays[content]}

    lines = [
        {
            **vars(call),
            "inputs": [kept(tensor) for tensor in call.inputs],
            "results": [kept(tensor) for tensor in call.results],
        }
        for call in calls
    ]
    text = json.dumps({"provenance": provenance, "calls": lines}, indent=1)
    file.parent.mkdir(exist_ok=True)
    np.savez_compressed(file, text=np.frombuffer(text.encode(), np.uint8), **stored)  # type: ignore[arg-type]


def read(file: Path) -> tuple[list[RecordedCall], dict[str, str]]:
    """The calls of a file, and what they were recorded with."""
    with np.load(file) as stored:
        content = json.loads(stored["text"].tobytes())

        def tensor(kept: dict[str, Any]) -> Recorded:
            return Recorded(
                tuple(kept["shape"]),
                *(kept[name] for name in ("dtype", "layout", "memory_config", "n_chips")),
                values=stored[f"array{kept['array']}"],
            )

        calls = [
            RecordedCall(
                **{
                    **line,
                    "changed": tuple(line["changed"]),
                    "inputs": tuple(map(tensor, line["inputs"])),
                    "results": tuple(map(tensor, line["results"])),
                }
            )
            for line in content["calls"]
        ]
    return calls, content["provenance"]
