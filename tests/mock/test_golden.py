"""The CPU backend computes what ttnn's own golden functions do, within the rounding of the result's dtype."""

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import ttnn

import ttnn_cpu
from tests.cpu_backend.helpers import open_mesh, put, sharded
from tests.mock.golden_cases import CASES, COLLECTIVES, MOVES, Case, Input, Named

# of a number's own size; block floats: of the largest number near it
ROUNDING = {"BFLOAT16": 2**-8, "FLOAT32": 2**-18, "BFLOAT8_B": 0.0, "BFLOAT4_B": 0.0, "UINT32": 0.0, "INT32": 0.0}
BLOCK_ROUNDING = {"BFLOAT8_B": 2**-6}
SUMMATION = 2**-18  # of the largest number: the order of additions is free
# What the chip's units round on the way to the result (ttnn_cpu.chip_rounding), which golden functions do not: both
# numbers of a bf16 sum to 11 bits of the larger one, and an activated factor to bf16.
ON_THE_WAY = {"add": (0.0, 2**-11), "add_": (0.0, 2**-11), "multiply": (2**-8, 0.0)}  # of its size, of the largest


def operation(library: Any, name: str) -> Any:
    for part in name.split("."):
        library = getattr(library, part)
    return library


def both(value: Any, mesh: ttnn_cpu.MeshDevice, generator: torch.Generator) -> tuple[Any, Any]:
    """An argument as the CPU backend takes it, and as the golden function does."""
    if isinstance(value, Input):
        dtype, layout = value.dtype.of(ttnn_cpu), value.layout.of(ttnn_cpu)
        ours = put(mesh, value.draw(generator), dtype, layout)
        held = ttnn_cpu.to_torch(ours)
        held = held.float() if held.is_floating_point() else held.to(torch.int32)
        return ours, held.reshape(value.seen_by_golden or value.shape).clone()
    if isinstance(value, Named):
        return value.of(ttnn_cpu), value.of(ttnn)
    if isinstance(value, list) and any(isinstance(item, Named) for item in value):
        pairs = [both(item, mesh, generator) for item in value]
        return [ours for ours, _ in pairs], [golden for _, golden in pairs]
    return value, value


def tensors(result: Any, otherwise: Any) -> list[Any]:
    if result is None:  # in place
        return [otherwise]
    return list(result) if isinstance(result, list | tuple) else [result]


def assert_near(operation_name: str, result: ttnn_cpu.Tensor, golden: torch.Tensor) -> None:
    ours, expected = ttnn_cpu.to_torch(result).double(), golden.double()
    assert list(ours.shape) == list(expected.shape)
    finite = expected[expected.isfinite()]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    name = result.dtype.name
    slack = largest * (BLOCK_ROUNDING.get(name, 0.0) + (SUMMATION if ROUNDING[name] or name in BLOCK_ROUNDING else 0.0))
    relative, absolute = ON_THE_WAY.get(operation_name, (0.0, 0.0)) if name == "BFLOAT16" else (0.0, 0.0)
    torch.testing.assert_close(ours, expected, rtol=ROUNDING[name] + relative, atol=slack + absolute * largest)


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.operation}" for i, case in enumerate(CASES)])
def test_agrees_with_the_golden_function(case: Case) -> None:
    mesh, generator = open_mesh(), torch.Generator().manual_seed(1)
    arguments = [both(value, mesh, generator) for value in (*case.inputs, *case.arguments)]
    options: Mapping[str, tuple[Any, Any]] = {k: both(v, mesh, generator) for k, v in case.options.items()}
    golden = ttnn.get_golden_function(operation(ttnn, case.operation))
    expected = golden(*(value for _, value in arguments), **{key: value for key, (_, value) in options.items()})
    result = operation(ttnn_cpu, case.operation)(
        *(value for value, _ in arguments), **{key: value for key, (value, _) in options.items()}
    )
    ours, known = tensors(result, arguments[0][0]), tensors(expected, arguments[0][1])
    assert len(ours) == len(known)
    for one, other in zip(ours, known, strict=True):
        assert_near(case.operation, one, other)


@pytest.mark.parametrize("name", MOVES)
def test_moving_keeps_values(name: str) -> None:
    mesh = open_mesh()
    shards = sharded("HEIGHT", 3, 32, 64)
    source = torch.randn(1, 1, 70, 64, generator=torch.Generator().manual_seed(1)).bfloat16()
    given = put(mesh, source, ttnn_cpu.bfloat16, memory_config=shards if MOVES[name] else None)
    target = ttnn_cpu.L1_MEMORY_CONFIG if MOVES[name] else shards
    moved = operation(ttnn_cpu, name)(given, target)
    assert moved.memory_config() == target
    assert torch.equal(ttnn_cpu.to_torch(moved), ttnn.get_golden_function(operation(ttnn, name))(source))


@pytest.mark.parametrize("name", COLLECTIVES)
@pytest.mark.parametrize("dim", [2, 3])
def test_collectives_agree_with_their_golden_functions(name: str, dim: int) -> None:
    """The golden function takes every chip's part, and gives the whole in the layout of the result."""
    n_devices, is_gather = 8, name == "all_gather"
    mesh = open_mesh(n_devices)
    whole = torch.randn(n_devices, 1, 64, 96, generator=torch.Generator().manual_seed(dim)).bfloat16()
    if not is_gather:
        whole = whole.repeat(1, 1, 4, 8)  # whole tiles for every chip
    ours = put(mesh, whole, ttnn_cpu.bfloat16, shard=0)
    options = {} if name == "all_reduce" else {"dim": dim}
    result = operation(ttnn_cpu, name)(ours, **options, cluster_axis=1)
    expected = ttnn.get_golden_function(operation(ttnn, name))(
        [part.float() for part in whole.split(1)],
        **options,
        cluster_axis=1,
        _ttnn_golden_mesh_shape=(1, n_devices),
        _ttnn_golden_mesh_shard_dims=(None, dim if is_gather else 0),
    )
    parts = [ttnn_cpu.to_torch(part).float() for part in ttnn_cpu.get_device_tensors(result)]
    if name == "reduce_scatter":
        torch.testing.assert_close(torch.cat(parts, dim), expected, rtol=2**-8, atol=1e-5)
    else:
        for part in parts:
            torch.testing.assert_close(part, expected, rtol=2**-8, atol=1e-5)
