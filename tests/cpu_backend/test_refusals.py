# ruff: noqa: E501 (the table of refused calls has one call on each line)
"""Calls that ttnn 0.81.1 refuses on a (mocked) T3000 are refused here, as are arguments that mean nothing here.

The table holds calls that were made on the real library, with a part of the message that this backend gives.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.calls import (
    B8,
    BF16,
    DRAM,
    F32,
    HSH,
    I32,
    L1,
    RES,
    U32,
    WSH,
    T,
    Tensors,
    X,
    chunked,
    chunks,
    create,
    decode,
    dram_config,
    fill,
    fused_update,
    norm_config,
    one_config,
    rope,
    two_config,
    update,
)
from tests.cpu_backend.helpers import ROWS, TILE, open_mesh, sharded

Refused = tuple[str, Callable[[Tensors], Any]]

REFUSED_BY_TTNN: list[Refused] = [
    # matmul
    ("must be divisible by in0_block_w", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(3, 1), memory_config=WSH)),
    ("Input B memory layout must be", lambda t: ttnn.linear(t.x, t(1, 1, 4096, 768, dtype=B8), program_config=dram_config(4, 1), memory_config=WSH)),
    ("Input A must be WIDTH_SHARDED", lambda t: ttnn.linear(t.plain, t.wqkv, program_config=dram_config(4, 1), memory_config=WSH)),
    ("Output memory config must be sharded", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1), memory_config=DRAM)),
    ("Output memory config must be sharded", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1))),
    ("supported only on Blackhole", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1, num_workers_per_dram_bank=2), memory_config=WSH)),
    ("per_core_M", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1, per_core_M=2), memory_config=WSH)),
    ("tile height", lambda t: ttnn.linear(t(1, 1, 64, 4096, at=sharded("WIDTH", 32, 64, 128)), t.wqkv, program_config=dram_config(4, 1), memory_config=WSH)),
    ("fused_activation", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1), memory_config=WSH, activation="silu")),
    ("must be WIDTH_SHARDED in L1", lambda t: ttnn.linear(t.x, t.wqkv, program_config=dram_config(4, 1), memory_config=HSH)),
    ("must be INTERLEAVED", lambda t: ttnn.linear(t.plain, t.wqkv)),
    ("Mismatch: width=4096 height=2048", lambda t: ttnn.linear(t.plain, t(1, 1, 2048, 768, dtype=B8))),
    ("TILE layout", lambda t: ttnn.linear(t(1, 1, 32, 4096, layout=ROWS), t(1, 1, 4096, 768))),
    ("Unsupported data format", lambda t: ttnn.linear(t(1, 1, 32, 4096, dtype=I32), t(1, 1, 4096, 768))),
    ("Broadcasting rule violation", lambda t: ttnn.linear(t.plain, t(1, 1, 4096, 768), bias=t(1, 1, 1, 64))),
    ("BCMK", lambda t: ttnn.matmul(t(1, 4, 32, 64), t(1, 8, 64, 32))),
    ("Target number of cores 32 is greater than total available cores 24", lambda t: ttnn.linear(t.x, t(1, 1, 4096, 64), program_config=one_config(compute_with_storage_grid_size=(8, 3)), memory_config=L1)),
    ("128 blocks > 32 cores", lambda t: ttnn.linear(t.plain, t(1, 1, 4096, 4096), program_config=one_config(), memory_config=L1)),
    ("shard_shape", lambda t: ttnn.linear(t.x, t(1, 1, 4096, 64), program_config=one_config(in0_block_w=8), memory_config=L1)),
    ("out_subblock_w", lambda t: ttnn.linear(t.x, t(1, 1, 4096, 64), program_config=one_config(out_subblock_w=3), memory_config=L1)),
    ("must equal per_core_M", lambda t: ttnn.linear(t.x, t(1, 1, 4096, 64), program_config=one_config(per_core_M=2), memory_config=L1)),
    ("Kt .* must be divisible", lambda t: ttnn.linear(t.plain, t(1, 1, 4096, 64), program_config=one_config(in0_block_w=7), memory_config=L1)),
    ("along y", lambda t: ttnn.linear(t(1, 1, 1024, 4096), t.wqkv, program_config=two_config(per_core_M=2))),
    ("along x", lambda t: ttnn.linear(t(1, 1, 1024, 4096), t.wqkv, program_config=two_config(per_core_N=1, out_subblock_w=1))),
    ("at most 8", lambda t: ttnn.linear(t(1, 1, 1024, 4096), t.wqkv, program_config=two_config(out_subblock_h=4))),
    ("K=4096 and K_w=2048", lambda t: X.minimal_matmul(t.plain, t(1, 1, 2048, 768, dtype=B8))),
    ("1 in all dims", lambda t: X.minimal_matmul(t.plain, t(1, 2, 4096, 768, dtype=B8))),
    ("TILE layout", lambda t: X.minimal_matmul(t(1, 1, 32, 4096, layout=ROWS), t.wqkv)),
    # norms, reductions
    ("ROW_MAJOR input", lambda t: ttnn.rms_norm(t(1, 1, 32, 4096, layout=ROWS))),
    ("Gamma", lambda t: ttnn.rms_norm(t.plain, weight=t(1, 1, 64, 32, layout=ROWS))),
    ("Gamma", lambda t: ttnn.rms_norm(t.plain, weight=t(4096, layout=ROWS))),
    ("padded widths must match", lambda t: ttnn.rms_norm(t.plain, weight=t(1, 1, 1, 2048))),
    ("Sharded inputs require sharded outputs", lambda t: ttnn.rms_norm(t.x, memory_config=DRAM)),
    ("Height sharded", lambda t: ttnn.rms_norm(t.heads())),
    ("block_w", lambda t: ttnn.rms_norm(t.x, program_config=norm_config(8, 4))),
    ("divisible by subblock_w", lambda t: ttnn.rms_norm(t.x, program_config=norm_config(4, 3))),
    ("width sharded input", lambda t: ttnn.rms_norm(t.plain, program_config=norm_config(4, 4))),
    ("K=32, dimension size=8", lambda t: ttnn.topk(t(1, 1, 32, 8), 32)),
    ("tiled format", lambda t: ttnn.topk(t(1, 1, 32, 64, layout=ROWS), 2)),
    ("Sharded implementation", lambda t: ttnn.topk(t.x, 32)),
    ("BFLOAT16, BFLOAT8_B, or FLOAT32", lambda t: ttnn.topk(t(1, 1, 32, 64, dtype=I32), 2)),
    ("Only UINT32", lambda t: ttnn.argmax(t(1, 1, 32, 64, layout=ROWS), dim=3, output_tensor=t.ints(1, 1, 32))),
    ("interleaved", lambda t: ttnn.argmax(t.x, dim=3)),
    # elementwise
    ("Mixed dtype", lambda t: ttnn.add(t(1, 1, 32, 64, dtype=I32), t(1, 1, 32, 64, dtype=U32))),
    ("Mixed dtype", lambda t: ttnn.eq(t(1, 1, 32, 64, dtype=U32), t(1, 1, 32, 64, dtype=I32))),
    ("Mixed dtype", lambda t: ttnn.where(t(1, 1, 32, 64), t(1, 1, 32, 64, dtype=F32), 0.0)),
    ("broadcast", lambda t: ttnn.add(t(1, 1, 32, 64), t(1, 1, 32, 32))),
    ("does not match the broadcasted", lambda t: ttnn.add_(t(1, 1, 32, 1), t(1, 1, 32, 64))),
    ("dtypes should match", lambda t: ttnn.multiply(t.plain, t.plain, dtype=BF16, output_tensor=t(1, 1, 32, 4096, dtype=B8))),
    ("memory layout to match", lambda t: ttnn.typecast(t.x, B8, memory_config=L1)),
    ("Only TILE layout", lambda t: ttnn.typecast(t(1, 1, 32, 64, layout=ROWS), B8)),
    ("Only TILE layout", lambda t: ttnn.zeros_like(t(1, 1, 32, 64, dtype=B8), layout=ROWS)),
    ("integer input", lambda t: ttnn.silu(t(1, 1, 32, 64, dtype=I32))),
    ("INT32 or UINT32", lambda t: ttnn.plus_one(t(32, layout=ROWS))),
    ("ROW_MAJOR layout", lambda t: ttnn.plus_one(t(1, 1, 32, 64, dtype=I32))),
    # data movement
    ("Invalid arguments to reshape", lambda t: ttnn.reshape(t.plain, [1, 1, 32, 4095])),
    ("large enough", lambda t: ttnn.reshape(t.plain, (1, 1, 64, 4096), (1, 1, 64, 4096))),
    ("ordering", lambda t: ttnn.permute(t.plain, (0, 1, 2))),
    ("Ends 64", lambda t: ttnn.slice(t(1, 1, 32, 64), [0, 0, 0, 0], [1, 1, 64, 64])),
    ("greater than start", lambda t: ttnn.slice(t(1, 1, 32, 64), [0, 0, 7, 0], [1, 1, 5, 64])),
    ("same size", lambda t: ttnn.slice(t(1, 1, 32, 64), [0, 0], [32, 64])),
    ("same dtypes", lambda t: ttnn.concat([t.plain, t(1, 1, 32, 4096, dtype=B8)], dim=3)),
    ("same size except", lambda t: ttnn.concat([t.plain, t(1, 1, 64, 64)], dim=3)),
    ("front padding", lambda t: ttnn.pad(t.plain, [(0, 0), (0, 0), (32, 0), (0, 0)], value=0.0)),
    ("Can only tilize", lambda t: ttnn.tilize(t.plain)),
    ("tile height", lambda t: ttnn.tilize(t(1, 1, 5, 64, layout=ROWS))),
    ("tile width", lambda t: ttnn.tilize(t(1, 1, 32, 40, layout=ROWS))),
    ("Can only untilize", lambda t: ttnn.untilize(t(1, 1, 32, 64, layout=ROWS))),
    ("dtype cannot be different", lambda t: ttnn.to_layout(t.plain, ROWS, dtype=F32)),
    ("must be INTERLEAVED", lambda t: ttnn.interleaved_to_sharded(t.x, RES)),
    ("must be sharded", lambda t: ttnn.interleaved_to_sharded(t.plain, L1)),
    ("shards along width 64", lambda t: ttnn.to_memory_config(t.plain, sharded("WIDTH", 32, 32, 64))),
    ("Input must be UINT32", lambda t: ttnn.embedding(t.ints(1, 32), t(128, 64, layout=ROWS))),
    ("datatype BFLOAT16", lambda t: ttnn.embedding(t.ints(1, 32, dtype=U32), t(128, 64, dtype=F32, layout=ROWS))),
    ("First two dimensions", lambda t: ttnn.embedding(t.ints(1, 32, dtype=U32), t(2, 1, 128, 64, layout=ROWS))),
    ("typecast output embeddings", lambda t: ttnn.embedding(t.ints(1, 32, dtype=U32), t(128, 64, layout=ROWS), dtype=F32)),
    # heads and rotation
    ("Unsupported input shape", lambda t: create(t, t(1, 1, 64, 768))),
    ("num_heads \\+ 2", lambda t: create(t, num_heads=5)),
    ("without a shard spec", lambda t: create(t, memory_config=sharded("HEIGHT", 32, 32, 128))),
    ("BFLOAT16 or FLOAT32", lambda t: create(t, t(1, 1, 32, 768, dtype=B8, at=sharded("WIDTH", 24, 32, 32)))),
    ("Q and K must not overlap", lambda t: X.rotary_embedding_llama_fused_qk(t.heads(), t.heads(1), *t.tables(), t.tiles())),
    ("sum of Q and K", lambda t: X.rotary_embedding_llama_fused_qk(t.heads(), t.heads(1, 32), *t.tables(32), t.tiles())),
    ("core grid of Q and K", lambda t: X.rotary_embedding_llama_fused_qk(t.heads(), t.heads(1, 32), *t.tables(), t.tiles(32))),
    ("HEIGHT_SHARDED", lambda t: X.rotary_embedding_llama_fused_qk(t.heads(), t.heads(1, 32), *t.tables(), t(1, 1, 32, 32))),
    ("bfloat16", lambda t: X.rotary_embedding_llama_fused_qk(t.heads(dtype=B8), t.heads(1, 32), *t.tables(), t.tiles())),
    ("same batch size as the input", lambda t: X.rotary_embedding_llama(t.heads(), *t.tables(), t.tiles(), is_decode_mode=True)),
    ("dtype = bfloat16", lambda t: rope(t, x=t.prefill())),
    ("Cos dims", lambda t: rope(t, cos=t(4, 1, 512, 128), sin=t(4, 1, 512, 128))),
    ("must match", lambda t: rope(t, sin=t(1, 1, 256, 128))),
    ("3rd dim", lambda t: rope(t, trans=t(1, 1, 64, 32))),
    ("must be sharded", lambda t: X.nlp_concat_heads_decode(t(1, 32, 4, 128), num_heads=4)),
    ("partial heads in shards", lambda t: create(t, t(1, 1, 32, 768, at=sharded("WIDTH", 8, 32, 96)))),
    # cache
    ("page table to have datatype INT32", lambda t: update(t, page_table=t.ints(32, 2, dtype=U32))),
    ("page_table must have ROW_MAJOR", lambda t: update(t, page_table=t(32, 2, dtype=I32))),
    ("update_idxs to have datatype INT32", lambda t: update(t, update_idxs_tensor=t.ints(32, dtype=U32))),
    ("should match batch size", lambda t: update(t, update_idxs_tensor=t.ints(16))),
    ("must match", lambda t: update(t, page_table=t.ints(16, 2))),
    ("FLOAT32 or BFLOAT16", lambda t: update(t, new=t.heads(1, dtype=B8))),
    ("to be sharded", lambda t: update(t, new=t(1, 32, 1, 128))),
    ("requires update_idxs", lambda t: update(t, update_idxs_tensor=None)),
    ("tilized", lambda t: update(t, cache=t(64, 1, 64, 128, layout=ROWS))),
    ("must not overlap", lambda t: fused_update(t, k=t.heads(1))),
    ("matching cache tensor dtypes", lambda t: fused_update(t, v_cache=t(64, 1, 64, 128))),
    ("cast prefill K/V to the cache dtype", lambda t: fill(t, new=t.prefill(128, 1, BF16))),
    ("must fit in max_num_blocks_per_seq", lambda t: fill(t, new=t.prefill(256, 1))),
    ("within the page_table batch size", lambda t: fill(t, batch_idx=40)),
    ("INT32", lambda t: fill(t, table=t.ints(32, 2, dtype=U32))),
    ("input_batch must be 1", lambda t: fill(t, new=t.prefill(128, 1, batch=4))),
    ("elements", lambda t: fill(t, new=t.prefill(128, 1, batch=4), batch_idx_tensor=t.ints(2))),
    ("geometry mismatch", lambda t: fill(t, new=t.prefill(128, 2))),
    # attention
    ("cur_pos to be INT32", lambda t: decode(t, cur_pos_tensor=t.ints(32, dtype=U32))),
    ("INT32", lambda t: decode(t, page_table_tensor=t.ints(32, 2, dtype=U32))),
    ("Must have cur_pos", lambda t: decode(t, cur_pos_tensor=None)),
    ("batch size equal to Q", lambda t: decode(t, cur_pos_tensor=t.ints(16))),
    ("same hidden size", lambda t: decode(t, q=t(1, 32, 4, 64))),
    ("multiple of K heads", lambda t: decode(t, q=t(1, 32, 3, 128), cache=t(64, 2, 64, 128))),
    ("power of 2", lambda t: decode(t, program_config=chunks(0, 48))),
    (r"Cores available \(16\)", lambda t: decode(t, program_config=chunks(0, 256, (4, 4)))),
    ("Unsupported data type", lambda t: decode(t, q=t(1, 32, 4, 128, dtype=F32))),
    ("shards along height 32", lambda t: decode(t, memory_config=sharded("HEIGHT", 16, 32, 128))),
    ("without a shard spec", lambda t: decode(t, memory_config=HSH)),
    ("same sequence length", lambda t: T.scaled_dot_product_attention(t.prefill(), t.prefill(512, 1), t.prefill(512, 1))),
    ("divisible by it", lambda t: T.scaled_dot_product_attention(t.prefill(), t.prefill(heads=3), t.prefill(heads=3))),
    ("multiple of TILE_SIZE", lambda t: T.scaled_dot_product_attention(t.prefill(), t.prefill(heads=1), t.prefill(heads=1), program_config=chunks(48, 48))),
    ("multiple of q_chunk_size. Got chunk_start_idx: 192, q_chunk_size: 256", lambda t: chunked(t, chunk_start_idx=192, program_config=chunks(256, 256))),
    ("multiple of k_chunk_size", lambda t: chunked(t, chunk_start_idx=128, program_config=chunks(128, 256))),
    ("Got K: 512, Q: 256, chunk_start_idx: 512", lambda t: chunked(t, chunk_start_idx=512)),
    ("must be int32", lambda t: chunked(t, chunk_start_idx=0, page_table_tensor=t.ints(1, 8, dtype=U32))),
    ("must match input batch size", lambda t: chunked(t, chunk_start_idx=0, page_table_tensor=t.ints(2, 8))),
    ("non-negative", lambda t: chunked(t, chunk_start_idx=-256)),
    ("is required", lambda t: chunked(t)),
    # collectives
    ("shards along width 256", lambda t: ttnn.all_gather(t.x, dim=3)),
    ("out of range", lambda t: ttnn.all_gather(t.plain, dim=4)),
    ("out of range", lambda t: ttnn.all_gather(t.plain, dim=3, cluster_axis=2)),
    ("num_devices > 1", lambda t: ttnn.all_gather(t.plain, dim=3, cluster_axis=0)),
    ("divisible by ring_size", lambda t: ttnn.reduce_scatter(t(1, 1, 32, 100), dim=3)),
    ("L1_SMALL", lambda t: ttnn.reduce_scatter(t.plain, dim=3, use_l1_small_for_semaphores=True)),
    ("width begin index aligned", lambda t: ttnn.mesh_partition(t(1, 1, 32, 8), 3, 1)),
    ("height begin index aligned", lambda t: ttnn.mesh_partition(t(1, 1, 128, 64), 2, 1)),
    ("divisible by cluster axis size", lambda t: ttnn.mesh_partition(t(1, 1, 9, 64, layout=ROWS), 2, 1)),
    # sampling
    ("ROW_MAJOR layout", lambda t: t.sample(input_indices_tensor=t(1, 1, 32, 256, dtype=I32))),
    ("same shape", lambda t: t.sample(input_indices_tensor=t.ints(1, 1, 32, 128))),
    ("BFLOAT16", lambda t: t.sample(input_values_tensor=t(1, 1, 32, 256, dtype=F32))),
    ("TILE layout", lambda t: t.sample(input_values_tensor=t(1, 1, 32, 256, layout=ROWS))),
    ("power-of-2", lambda t: t.sample(input_values_tensor=t(1, 1, 32, 32000), input_indices_tensor=t.ints(1, 1, 32, 32000))),
    ("k must have datatype UINT32 or INT32", lambda t: t.sample(k=t.ints(32, dtype=ttnn.uint16))),
    (r"k must have shape \[32\]", lambda t: t.sample(k=t.ints(16))),
    ("temp must have datatype BFLOAT16", lambda t: t.sample(temp=t(32, dtype=F32, layout=ROWS))),
    ("between 1 and 32 users", lambda t: t.sample(input_values_tensor=t(1, 1, 64, 256), input_indices_tensor=t.ints(1, 1, 64, 256))),
    ("rank 4", lambda t: t.sample(input_values_tensor=t(1, 32, 256), input_indices_tensor=t.ints(1, 32, 256))),
    (r"\[1,1,1,32\]", lambda t: t.sample(output_tensor=t.ints(32, dtype=U32))),
    ("Seeds tensor must have datatype UINT32", lambda t: ttnn.manual_seed(t.ints(32), user_ids=t.ints(32, dtype=U32))),
    ("Device must be provided", lambda t: ttnn.manual_seed(3)),
    ("one length", lambda t: ttnn.manual_seed(t.ints(32, dtype=U32), user_ids=t.ints(16, dtype=U32))),
]  # fmt: skip


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


# Legal for ttnn, but its kernels hang or read what nobody named: seen on simulated chips.
TAKEN_BY_TTNN: list[Refused] = [
    ("reads the whole, with block numbers from behind", lambda t: decode(t, program_config=chunks(0, 256))),
    (
        "with 32 candidates the kernel waits for a second tile for ever",
        lambda t: t.sample(input_values_tensor=t(1, 1, 32, 32), input_indices_tensor=t.ints(1, 1, 32, 32)),
    ),
]


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
    with pytest.raises(AttributeError, match="sparse_matmul"):
        ttnn.sparse_matmul  # type: ignore[attr-defined] # noqa: B018


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
