"""Calls that ttnn 0.81.1 refuses on a (mocked) T3000 are refused here, as are arguments that mean nothing here."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.calls import (
    BF16,
    I32,
    U32,
    WSH,
    T,
    Tensors,
    X,
    chunked,
    chunks,
    one_config,
    update,
)
from tests.cpu_backend.helpers import ROWS, TILE, open_mesh, sharded
from tests.cpu_backend.refused import REFUSED_BY_TTNN, TAKEN_BY_TTNN


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    with ttnn.specs_only():
        return Tensors(open_mesh(8))


@pytest.mark.parametrize(
    ("message", "call"), REFUSED_BY_TTNN, ids=[f"{i}-{m[:24]}" for i, (m, _) in enumerate(REFUSED_BY_TTNN)]
)
def test_refused_by_ttnn_and_here(tensors: Tensors, message: str, call: Callable[[Tensors], Any]) -> None:
    with pytest.raises(RuntimeError, match=message):
        call(tensors)


@pytest.mark.parametrize(("message", "call"), TAKEN_BY_TTNN)
def test_what_ttnn_takes_and_its_kernels_cannot_do_is_refused_here(
    tensors: Tensors, message: str, call: Callable[[Tensors], Any]
) -> None:
    with pytest.raises(RuntimeError, match=message):
        call(tensors)


def test_unknown_keywords_and_wrong_classes_name_operation_and_argument(tensors: Tensors) -> None:
    x = tensors.plain
    for names, call in (
        (("linear", "transpose_b"), lambda: ttnn.linear(x, x, transpose_b=True)),  # type: ignore[call-arg]
        (("add_", "dtype"), lambda: ttnn.add_(x, x, dtype=BF16)),  # type: ignore[call-arg]
        (("typecast", "dtype"), lambda: ttnn.typecast(x, torch.bfloat16)),  # type: ignore[arg-type]
        (("rms_norm", "compute_kernel_config"), lambda: ttnn.rms_norm(x, compute_kernel_config=one_config())),  # type: ignore[arg-type]
        (("linear", "program_config"), lambda: ttnn.linear(x, x, program_config=chunks(32, 32))),  # type: ignore[arg-type]
        (("activation", "silu"), lambda: ttnn.multiply(x, x, input_tensor_a_activations=["silu"])),  # type: ignore[list-item]
        (("all_gather", "num_links"), lambda: ttnn.all_gather(x, dim=3, num_links=1)),  # type: ignore[call-arg]
        (("reduce_scatter", "topology"), lambda: ttnn.reduce_scatter(x, dim=3, topology="ring")),  # type: ignore[arg-type]
        (("scale", "float32"), lambda: chunked(tensors, chunk_start_idx=0, scale=128**-0.5)),
    ):
        with pytest.raises(TypeError) as error:
            call()
        assert all(name in str(error.value) for name in names)


def test_values_that_are_not_implemented_name_operation_and_argument(tensors: Tensors) -> None:
    x = tensors.plain
    for names, call in (
        (("linear", "activation", "gelu"), lambda: ttnn.linear(x, tensors(1, 1, 4096, 64), activation="gelu")),
        (("scaled_dot", "is_causal"), lambda: T.scaled_dot_product_attention(x, x, x, is_causal=False)),
        (("argmax", "dim"), lambda: ttnn.argmax(tensors(1, 1, 32, 64, layout=ROWS))),
        (("add", "memory_config"), lambda: ttnn.add(x, x, memory_config=WSH)),
        (("update_cache", "page_table"), lambda: update(tensors, page_table=None)),
        (
            ("open_mesh_device", "num_command_queues"),
            lambda: ttnn.open_mesh_device(ttnn.MeshShape(1, 8), num_command_queues=2),
        ),
    ):
        with pytest.raises(NotImplementedError) as error:
            call()
        assert all(name in str(error.value) for name in names)
    with pytest.raises(AttributeError, match="conv2d"):
        ttnn.conv2d  # type: ignore[attr-defined] # noqa: B018


def test_values_out_of_range() -> None:
    """What silicon would read or write outside its tensors."""
    mesh = open_mesh()

    def ints(*values: Any, dtype: ttnn.DataType = I32) -> ttnn.Tensor:
        return ttnn.from_torch(torch.tensor(values, dtype=torch.int32), dtype=dtype, layout=ROWS, device=mesh)

    table = ttnn.zeros([8, 32], device=mesh)
    with pytest.raises(RuntimeError, match="id 8 is out of range"):
        ttnn.embedding(ints([0, 8], dtype=U32), table)
    cache = ttnn.zeros([4, 1, 32, 32], layout=TILE, device=mesh)
    new = ttnn.zeros([1, 1, 1, 32], layout=TILE, device=mesh, memory_config=sharded("HEIGHT", 1, 32, 32))
    for position, pages, message in (
        (64, [0, 1], "beyond the 2 pages"),
        (40, [0, 4], "page ids"),
        (0, [-1, 0], "page ids"),
    ):
        with pytest.raises(RuntimeError, match=message):
            X.paged_update_cache(cache, new, update_idxs_tensor=ints(position), page_table=ints(pages))
        with pytest.raises(RuntimeError, match=message):
            T.paged_scaled_dot_product_attention_decode(new, cache, cache, ints(pages), cur_pos_tensor=ints(position))
    with pytest.raises(RuntimeError, match="page ids"):
        X.paged_fill_cache(cache, ttnn.zeros([1, 1, 32, 32], layout=TILE, device=mesh), ints([9]))


def test_meshes() -> None:
    for shape in ((2, 4), (1, 3), (8, 1)):
        with pytest.raises(RuntimeError, match="1 x"):
            ttnn.open_mesh_device(ttnn.MeshShape(*shape))
    one, other = open_mesh(), open_mesh()
    tensors = [ttnn.zeros([1], device=mesh) for mesh in (one, other)]
    with pytest.raises(RuntimeError, match="different meshes"):
        ttnn.add(*tensors)
    ttnn.close_mesh_device(one)
    with pytest.raises(RuntimeError, match="closed"):
        ttnn.add(tensors[0], 1.0)
