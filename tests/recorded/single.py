"""Single calls that are recorded on simulated chips beside those of a model: random numbers at sizes at which K goes in
several blocks, and operands that a small model does not make."""

from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from ttnn_cpu.witness.calls import RecordedCall, recording

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.mesh import Mesh

ROWS, INNER, COLUMNS = 32, 1024, 64
DECODE_COLUMNS, PREFILL_COLUMNS = 384, 4096  # of the same weight, over and over: kept small in the files


def record_single(ttnn: ModuleType, mesh: "Mesh", wanted: frozenset[str] = frozenset()) -> Iterator[RecordedCall]:
    for program in (_products, _norms, _elementwise, _shares, _attention):
        with recording(ttnn, wanted, "alone", set()) as calls:
            program(ttnn, mesh)
        yield from calls


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, *shape, generator=torch.Generator().manual_seed(seed))


def record_sums(ttnn: ModuleType, mesh: "Mesh") -> Iterator[RecordedCall]:
    """On eight chips."""
    with recording(ttnn, frozenset({"reduce_scatter"}), "alone", set()) as calls:
        _sums(ttnn, mesh)
    yield from calls


def _sums(ttnn: Any, mesh: "Mesh") -> None:
    """Of each slice 9 tiles, the first 8 of which go round the ring the other way than the last."""
    from models.mixtral8x7b.tt.mesh import Placement

    for dtype in (ttnn.bfloat16, ttnn.bfloat8_b):
        parts = random(mesh.n_devices * 2, mesh.n_devices * 9 * 32, seed=15).view(mesh.n_devices, 1, 2, -1)
        on_chips = mesh.put(parts, dtype, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, ttnn.L1_MEMORY_CONFIG)
        mesh.sum_over_devices(on_chips, ttnn.L1_MEMORY_CONFIG)


def _products(ttnn: Any, mesh: "Mesh") -> None:
    from models.mixtral8x7b.tt import precision
    from models.mixtral8x7b.tt.layouts import GRID, decode_matmul, over_dram_banks

    weight, x = random(INNER, COLUMNS, seed=1), random(ROWS, INNER)
    in_cores, out_cores, bf8 = 8, 12, ttnn.bfloat8_b
    cores = ttnn.num_cores_to_corerangeset(in_cores, ttnn.CoreCoord(*GRID), True)
    shard = ttnn.ShardSpec(cores, [ROWS, INNER // in_cores], ttnn.ShardOrientation.ROW_MAJOR)
    split = ttnn.MemoryConfig(ttnn.TensorMemoryLayout.WIDTH_SHARDED, ttnn.BufferType.L1, shard)
    stored = over_dram_banks(INNER, DECODE_COLUMNS, mesh.dram_banks)
    of_decode = mesh.put(_repeated(weight, DECODE_COLUMNS), bf8, ttnn.TILE_LAYOUT, memory_config=stored)
    in_l1 = mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=split)
    for kernel in (precision.LOFI_FP32, precision.HIFI2, precision.HIFI2_FP32, precision.HIFI3_FP32):
        ttnn.linear(
            in_l1,
            of_decode,
            program_config=decode_matmul(INNER, DECODE_COLUMNS, in_cores, out_cores, mesh.dram_banks, bf8),
            memory_config=ttnn.L1_WIDTH_SHARDED_MEMORY_CONFIG,
            dtype=ttnn.bfloat16,
            compute_kernel_config=kernel,
        )
    of_prefill = mesh.put(_repeated(weight, PREFILL_COLUMNS), bf8, ttnn.TILE_LAYOUT)
    rows = mesh.put(random(2 * ROWS, INNER, seed=2), bf8, ttnn.TILE_LAYOUT)
    ttnn.experimental.minimal_matmul(rows, of_prefill, dtype=ttnn.bfloat16, compute_kernel_config=precision.HIFI2_FP32)
    gate = mesh.put(weight, ttnn.bfloat16, ttnn.TILE_LAYOUT)
    bias = mesh.put(torch.zeros(1, 1, 1, COLUMNS), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    ttnn.linear(
        mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT),
        gate,
        bias=bias,
        memory_config=ttnn.DRAM_MEMORY_CONFIG,
        dtype=ttnn.float32,
        compute_kernel_config=precision.PERFORMANCE.router,
    )


def _repeated(weight: torch.Tensor, columns: int) -> torch.Tensor:
    return weight.repeat(1, 1, 1, columns // COLUMNS)


def _norms(ttnn: Any, mesh: "Mesh") -> None:
    """Of one width with two shards a core, whole, and with a bf16 destination."""
    from models.mixtral8x7b.tt.layouts import residual, residual_cores, residual_grid
    from models.mixtral8x7b.tt.precision import PERFORMANCE

    width = INNER
    x = 0.3 * random(ROWS, width, seed=3)
    weight = mesh.put(1 + 0.2 * random(width // 32, 32, seed=4), ttnn.bfloat16)
    per_core = width // 32 // residual_cores(width)
    program = ttnn.LayerNormShardedMultiCoreProgramConfig(
        compute_with_storage_grid_size=residual_grid(width), subblock_w=1, block_h=1, block_w=per_core, inplace=False
    )
    ttnn.rms_norm(
        mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT, memory_config=residual(width)),
        epsilon=1e-5,
        weight=weight,
        program_config=program,
        compute_kernel_config=PERFORMANCE.norm,
        memory_config=residual(width),
    )
    ttnn.rms_norm(
        mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT),
        epsilon=1e-5,
        weight=weight,
        compute_kernel_config=PERFORMANCE.norm,
        memory_config=ttnn.DRAM_MEMORY_CONFIG,
    )


def _elementwise(ttnn: Any, mesh: "Mesh") -> None:
    """silu of all that a gate may be; products in bf16 and in bfp8."""
    gate = torch.cat((random(ROWS, 128, seed=5), 12 * random(ROWS, 128, seed=6)), -1)
    up = random(ROWS, 256, seed=7)
    one, other = (mesh.put(x, ttnn.bfloat16, ttnn.TILE_LAYOUT) for x in (gate, up))
    silu = [ttnn.UnaryOpType.SILU]
    ttnn.multiply(one, other, input_tensor_a_activations=silu, dtype=ttnn.bfloat16)
    ttnn.multiply(one, other, input_tensor_a_activations=silu, dtype=ttnn.bfloat8_b)
    ttnn.multiply(one, other, dtype=ttnn.bfloat16)
    in_blocks = mesh.put(gate, ttnn.bfloat8_b, ttnn.TILE_LAYOUT)
    ttnn.multiply_(mesh.put(up, ttnn.bfloat8_b, ttnn.TILE_LAYOUT), in_blocks)
    ttnn.multiply_(mesh.put(up, ttnn.bfloat8_b, ttnn.TILE_LAYOUT), one, input_tensor_b_activations=silu)


def _shares(ttnn: Any, mesh: "Mesh") -> None:
    """Of all columns: a model masks all but two."""
    from models.mixtral8x7b.tt.precision import PERFORMANCE

    ttnn.scale_mask_softmax(
        mesh.put(3 * random(ROWS, 32, seed=8), ttnn.float32, ttnn.TILE_LAYOUT),
        mask=mesh.put(torch.zeros(1, 1, 1, 32), ttnn.bfloat16, ttnn.TILE_LAYOUT),
        compute_kernel_config=PERFORMANCE.router,
    )


def _attention(ttnn: Any, mesh: "Mesh") -> None:
    """Windows over several chunks of keys; decode over up to three, each on a core of
    its own, or on two cores."""
    from models.mixtral8x7b.packing import MOST_PIECES
    from models.mixtral8x7b.tt.attention import ROWS_AT_ONCE, sdpa_program
    from models.mixtral8x7b.tt.layouts import GRID
    from models.mixtral8x7b.tt.precision import PERFORMANCE

    heads, width, rows, block, chunk = 4, 32, 512, 64, 256
    ends = [0, 64, 448, *[rows] * (MOST_PIECES - 2)]
    q = mesh.put(random(heads * rows, width, seed=9).view(1, heads, rows, width), ttnn.bfloat16, ttnn.TILE_LAYOUT)
    k, v = (mesh.put(random(rows, width, seed=seed), ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for seed in (10, 11))
    ttnn.transformer.scaled_dot_product_attention(
        q,
        k,
        v,
        is_causal=True,
        cu_window_seqlens=mesh.put(torch.tensor(ends, dtype=torch.int32), ttnn.int32),
        program_config=sdpa_program(ROWS_AT_ONCE),
        compute_kernel_config=PERFORMANCE.sdpa_prefill,
        output_concat_heads=True,
    )
    pages = 3 * chunk // block
    cache = [random(pages * block, width, seed=seed).view(pages, 1, block, width) for seed in (12, 13)]
    keys, values = (mesh.put(x, ttnn.bfloat8_b, ttnn.TILE_LAYOUT) for x in cache)
    for places in ([700, 100], [700, 300, 512, 100] + [0] * (ROWS - 4)):
        users = len(places)
        table = torch.arange(pages, dtype=torch.int32).repeat(users, 1)
        queries = 2 * random(users * heads, width, seed=14).view(1, users, heads, width)
        ttnn.transformer.paged_scaled_dot_product_attention_decode(
            mesh.put(queries, ttnn.bfloat16, ttnn.TILE_LAYOUT),
            keys,
            values,
            page_table_tensor=mesh.put(table, ttnn.int32),
            cur_pos_tensor=mesh.put(torch.tensor(places, dtype=torch.int32), ttnn.int32),
            scale=width**-0.5,
            program_config=ttnn.SDPAProgramConfig(
                compute_with_storage_grid_size=GRID, q_chunk_size=0, k_chunk_size=chunk, exp_approx_mode=False
            ),
            compute_kernel_config=PERFORMANCE.sdpa_decode,
        )
