"""What a program does on each chip, from ttnn's graph capture: device operations and the peak of L1 memory per core.

One call of ttnn is not always one device operation: top-k pads, a sum fills the padding first.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

from tests.mock.program import FULL, ROWS, Section, build, prompts, set_rows

L1_BYTES_PER_CORE = 1_499_136  # of a Wormhole worker core, as ttnn's refusals state it
LENGTHS = (128, 1024, 2048, 4096, 8192, 16384, 32768)
_SECTION = Section(FULL, "performance", 1, 32768, ())


@dataclass(frozen=True)
class Usage:
    """Bytes are per core: what a program's kernels reserve, tensors, and the most of both together."""

    program: str
    device_operations: int
    per_layer: int
    reserved: int
    tensors: int
    total: int


def usages(ttnn: ModuleType, mesh: Any) -> list[Usage]:
    """Of one decode step and of a prefill of each length, 2 layers of full size; 32 take no more L1."""
    models = [build(replace(_SECTION, config=replace(FULL, n_layers=layers)), mesh) for layers in (1, 2)]
    for model in models:
        set_rows(model, _SECTION, ROWS)
    found = [_usage(ttnn, "decode step of 32 rows", [model.step for model in models])]
    for length in LENGTHS:
        runs = [partial(_prefill, model, length) for model in models]
        found.append(_usage(ttnn, f"prefill of {length} tokens", runs))
    return found


def _prefill(model: Any, length: int) -> None:
    model.sampler.forward(model.prefill(prompts((length,))), model.state.tokens)


def _usage(ttnn: ModuleType, name: str, runs: list[Callable[[], None]]) -> Usage:
    counts = [_device_operations(_captured(ttnn, run)) for run in runs]
    peak = ttnn.graph.extract_resource_usage_per_core(_captured(ttnn, runs[-1], dispatched=False))
    reserved = max(peak.peak_cb, peak.peak_dataflow_buffer)
    return Usage(name, counts[-1], counts[1] - counts[0], reserved, peak.peak_l1, peak.peak_total)


def _device_operations(nodes: list[dict[str, Any]]) -> int:
    names = [node["params"]["name"] for node in nodes if node["node_type"] == "function_start"]
    return sum(name.endswith("DeviceOperation") or name == "SDPAOperation" for name in names)


def _captured(ttnn: ModuleType, run: Callable[[], None], dispatched: bool = True) -> list[dict[str, Any]]:
    """Kernels' reservations are in the graph only if nothing is dispatched, operations' names either way."""
    modes = ttnn.graph.RunMode
    ttnn.graph.begin_graph_capture(modes.NORMAL if dispatched else modes.NO_DISPATCH)
    try:
        run()
    finally:
        nodes = ttnn.graph.end_graph_capture()
    return nodes
