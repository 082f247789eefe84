"""What a program does on each chip, from ttnn's graph capture: device operations and the peak of L1 memory per core.

One call of ttnn is not always one device operation: top-k pads, a sum fills the padding first.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any

from tests.mock.program import MIXTRAL_8X7B, PRESETS, ROWS, Section, build, prompts, set_rows

L1_BYTES_PER_CORE = 1_499_136  # of a Wormhole worker core, as ttnn's refusals state it
LENGTHS = (128, 1024, 2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True)
class L1:
    """Bytes per core: what a program's kernels reserve, tensors, and the most of both together."""

    reserved: int
    tensors: int
    total: int


@dataclass(frozen=True)
class Usage:
    preset: str
    program: str
    device_operations: int
    per_layer: int
    l1: L1


def usages(ttnn: ModuleType, mesh: Any) -> list[Usage]:
    """Of one decode step, of one that notes the experts, and of a prefill of each length, in both presets, 2 layers; 32
    take no more L1."""
    return [usage for preset in PRESETS for usage in _usages(ttnn, mesh, preset)]


def _usages(ttnn: ModuleType, mesh: Any, preset: str) -> Iterator[Usage]:
    one_layer, two_layers = (programs(mesh, preset, layers) for layers in (1, 2))
    for name, run in two_layers.items():
        first, both = (_device_operations(captured(ttnn, each)) for each in (one_layer[name], run))
        yield Usage(preset, name, both, both - first, l1_peak(ttnn, run))


def programs(mesh: Any, preset: str, n_layers: int) -> dict[str, Callable[[], None]]:
    """Of one model of full size, to be run in any order."""
    section = Section(replace(MIXTRAL_8X7B, n_layers=n_layers), preset, 1, 32768, ())
    model = build(section, mesh, notes_experts=True)
    set_rows(model, section, ROWS)
    prefills = {f"prefill of {length} tokens": partial(_prefill, model, length) for length in LENGTHS}
    noting = partial(model.step, model.choices)
    return {f"decode step of {ROWS} rows": model.step, "the same, noting the experts": noting, **prefills}


def _prefill(model: Any, length: int) -> None:
    model.sampler.forward(model.prefill(prompts((length,))), model.state.tokens)


def l1_peak(ttnn: ModuleType, run: Callable[[], None]) -> L1:
    peak = ttnn.graph.extract_resource_usage_per_core(captured(ttnn, run, dispatched=False))
    return L1(max(peak.peak_cb, peak.peak_dataflow_buffer), peak.peak_l1, peak.peak_total)


def _device_operations(nodes: list[dict[str, Any]]) -> int:
    names = [node["params"]["name"] for node in nodes if node["node_type"] == "function_start"]
    return sum(name.endswith("DeviceOperation") or name == "SDPAOperation" for name in names)


def captured(ttnn: ModuleType, run: Callable[[], None], dispatched: bool = True) -> list[dict[str, Any]]:
    """Kernels' reservations are in the graph only if nothing is dispatched, operations' names either way."""
    modes = ttnn.graph.RunMode
    ttnn.graph.begin_graph_capture(modes.NORMAL if dispatched else modes.NO_DISPATCH)
    try:
        run()
    finally:
        nodes = ttnn.graph.end_graph_capture()
    return nodes
