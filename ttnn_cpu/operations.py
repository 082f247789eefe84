"""The operations and transfers of the public API by namespace: what `record` wraps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ttnn_cpu import creation, experimental, host_io, tensor_files, transformer
from ttnn_cpu.ops import (
    binary,
    collectives,
    comparison,
    embedding,
    matmul,
    norm,
    placement,
    reduce,
    reshape,
    sampling,
    scatter,
    slicing,
    sparse_matmul,
    unary,
)

_TOP: tuple[Callable[..., Any], ...] = (
    *(binary.add, binary.add_, binary.subtract, binary.multiply, binary.multiply_),
    *(comparison.eq, comparison.ne, comparison.ge, comparison.lt),
    *(unary.clone, unary.copy, unary.plus_one, unary.silu, unary.typecast, unary.where),
    *(embedding.embedding, matmul.linear, matmul.matmul, norm.rms_norm, norm.scale_mask_softmax, norm.softmax),
    *(reduce.argmax, reduce.sum, reduce.topk),
    *(slicing.concat, slicing.pad, slicing.slice, scatter.scatter, sparse_matmul.sparse_matmul),
    *(reshape.permute, reshape.reshape, reshape.transpose, reshape.unsqueeze_to_4D),
    *(placement.interleaved_to_sharded, placement.sharded_to_interleaved, placement.to_memory_config),
    *(placement.tilize, placement.to_layout, placement.untilize),
    *(collectives.all_gather, collectives.all_reduce, collectives.mesh_partition, collectives.reduce_scatter),
    *(sampling.manual_seed, sampling.sampling),
    *(creation.full, creation.ones, creation.zeros, creation.zeros_like),
    *(host_io.copy_host_to_device_tensor, host_io.from_device, host_io.from_torch, host_io.to_device),
    *(host_io.to_torch, tensor_files.as_tensor, tensor_files.load_tensor),
)

OPERATIONS: dict[str, dict[str, Callable[..., Any]]] = {
    "": {function.__name__: function for function in _TOP},
    "experimental": {name: getattr(experimental, name) for name in experimental.__all__},
    "transformer": {name: getattr(transformer, name) for name in transformer.__all__},
}
