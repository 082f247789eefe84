"""The paged KV cache: blocks [NB, KV, block, D], and a page table [users, pages] that names each user's blocks.

Token t of user u stands in block page_table[u, t // block], slot t % block. Worked example: block = 64 and
page_table[u] = [7, 2, ..]: token 70 stands in block 2, slot 6.
"""

from __future__ import annotations

from typing import NoReturn, TypeVar

import numpy as np
import torch

from ttnn_cpu.checks import check_dtype, check_layout, check_options, check_rank, check_type, fail
from ttnn_cpu.chip_rounding import packed
from ttnn_cpu.configs import WormholeComputeKernelConfig
from ttnn_cpu.dispatch import Values, as_stored, mesh_of, submit
from ttnn_cpu.enums import FLOATS, TILE_SIZE, DataType, Layout
from ttnn_cpu.garbage import garbage
from ttnn_cpu.halves import Halves, upper_halves
from ttnn_cpu.modes import is_exact
from ttnn_cpu.paged_loops import find_places, write_to_pages
from ttnn_cpu.tensor import Tensor

Array = TypeVar("Array", Values, np.ndarray)


def _writable(cache: Tensor, devices: int) -> np.ndarray:
    """The cache's own values [D, NB, KV, block, W] to write into: not shared with any other tensor, and one copy per
    device once the devices' values differ. float32, or of at most 8 bits as `Halves` keeps them."""
    storage = cache.storage
    if storage.mutable:
        held = storage.unmade
        own = None
        if isinstance(held, Halves) and not is_exact():
            own = held.halves.reshape(-1, *cache.spec.shape)  # a view
        elif held is None:
            own = _array(cache)
        if own is not None and len(own) >= devices:
            return own
    values = garbage(cache.spec.shape, cache.spec.dtype) if storage.values is None else storage.values
    values = values.expand(max(devices, len(values)), *values.shape[1:]).reshape(-1, *cache.spec.shape)
    halves = None if is_exact() or cache.spec.dtype is DataType.FLOAT32 else Halves.of(values)
    storage.values = halves or values.clone(memory_format=torch.contiguous_format)
    storage.mutable = True
    return halves.halves if halves else _array(cache)


def _array(cache: Tensor) -> np.ndarray:
    assert cache.storage.values is not None
    return cache.storage.values.view(-1, *cache.spec.shape).numpy()


def _as_kept(target: np.ndarray, values: Values) -> np.ndarray:
    """Values of the cache's dtype as its own are kept."""
    values = values.contiguous()
    return upper_halves(values) if target.dtype == np.uint16 else values.numpy()


def _per_device(values: Array, device: int) -> Array:
    return values[device if len(values) > 1 else 0]


def _check_cache(operation: str, cache: Tensor) -> None:
    check_rank(operation, "the cache", cache, 4)
    if cache.spec.layout is not Layout.TILE:
        raise fail(operation, "Cache tensor must be tilized")
    if cache.spec.dtype not in FLOATS:
        raise fail(operation, f"the cache must have a float dtype, got {cache.spec.dtype.name}")


def _check_table(operation: str, page_table: Tensor) -> None:
    check_rank(operation, "page_table", page_table, 2)
    check_dtype(operation, "Expect page table to have datatype INT32: it", page_table, DataType.INT32)
    check_layout(operation, "page_table", page_table, Layout.ROW_MAJOR)


def check_pages(operation: str, pages: Values, blocks: int) -> None:
    """Raises RuntimeError for a page id that is no block."""
    if pages.numel() and (int(pages.max()) >= blocks or int(pages.min()) < 0):
        raise fail(
            operation,
            f"page ids {int(pages.min())}..{int(pages.max())} are out of range for a cache of {blocks} blocks",
        )


def _check_update(
    operation: str, cache: Tensor, new: Tensor, update_idxs: Tensor | None, page_table: Tensor | None
) -> None:
    _check_cache(operation, cache)
    check_rank(operation, "the input", new, 4)
    if page_table is None:
        raise NotImplementedError(f"{operation}: page_table=None (an unpaged cache) is not implemented")
    if update_idxs is None:
        raise fail(operation, "Paged cache requires update_idxs tensor")
    if new.spec.dtype not in (DataType.BFLOAT16, DataType.FLOAT32):
        raise fail(
            operation, "Data type of the input must be FLOAT32 or BFLOAT16; the update repacks into the cache dtype"
        )
    check_layout(operation, "the input", new, Layout.TILE)
    if not new.is_sharded():
        raise fail(operation, "Expect input_tensor to be sharded")
    check_dtype(operation, "Expected update_idxs to have datatype INT32: it", update_idxs, DataType.INT32)
    check_layout(operation, "update_idxs", update_idxs, Layout.ROW_MAJOR)
    _check_table(operation, page_table)
    one, users, heads, head_dim = new.spec.shape
    if one != 1:
        raise fail(operation, f"the input must be [1, users, heads, head_dim], got {new.spec.shape!r}")
    if update_idxs.spec.shape != (users,):
        raise fail(operation, f"Number of update_idxs {update_idxs.spec.shape!r} should match batch size ({users})")
    if page_table.spec.shape[0] != users:
        raise fail(
            operation,
            f"Batch size between page_table ({page_table.spec.shape[0]}) and input_tensor ({users}) must match",
        )
    if (heads, head_dim) != (cache.spec.shape[1], cache.spec.shape[3]):
        raise fail(operation, f"geometry mismatch: cache {cache.spec.shape!r}, input {new.spec.shape!r}")
    pages, blocks = page_table.spec.shape[1], cache.spec.shape[0]
    if pages > blocks:
        raise fail(
            operation, f"max_num_blocks_per_seq must be less than max_num_blocks: {pages} pages of {blocks} blocks"
        )


def _update(operation: str, cache: Tensor, new: Tensor, update_idxs: Tensor, page_table: Tensor) -> None:
    """Write row u of `new` to position update_idxs[u] of user u; a position of -1 writes nothing."""
    rows = as_stored(new.values(), cache.spec.dtype, packed)
    positions, table = (given.values().contiguous().numpy() for given in (update_idxs, page_table))
    target = _writable(cache, max(rows.shape[0], len(positions), len(table)))
    kept = _as_kept(target, rows)
    if len(positions) == len(table) == 1:
        write_to_pages(target, kept, *_places(operation, cache, positions[0], table[0]))
        return
    for device in range(len(target)):
        places = _places(operation, cache, _per_device(positions, device), _per_device(table, device))
        write_to_pages(target[device : device + 1], _per_device(kept, device)[None], *places)


def _places(operation: str, cache: Tensor, positions: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, ...]:
    """positions [B], table [B, pages] -> the users that write, their pages and the slots in them."""
    blocks, _, block, _ = cache.spec.shape
    users, pages, slots = (np.empty(len(positions), np.int64) for _ in range(3))
    n = find_places(positions, table, blocks, block, TILE_SIZE, users, pages, slots)
    if n < 0:
        _refuse(operation, torch.from_numpy(positions), torch.from_numpy(table), blocks, block)
    return users[:n], pages[:n], slots[:n]


def _refuse(operation: str, positions: Values, table: Values, blocks: int, block: int) -> NoReturn:
    """Says what is wrong with places that are not found."""
    users = (positions >= 0).nonzero().squeeze(1)
    position = positions[users].long()
    if int(position.max()) >= table.shape[1] * block:
        raise fail(operation, f"position {int(position.max())} is beyond the {table.shape[1]} pages of {block} tokens")
    page = table[users, position // block].long()
    check_pages(operation, page, blocks)
    # on a chip each user's core reads a tile of 32 slots, replaces one and writes the tile back
    ordered, order = (page * block + position % block // TILE_SIZE).sort()
    twice = (ordered[1:] == ordered[:-1]).nonzero().flatten()
    one, other = sorted(users[order[twice[0] : twice[0] + 2]].tolist())
    raise fail(operation, f"users {one} and {other} write to one tile of the cache: one of the two would be lost")


def paged_update_cache(
    cache_tensor: Tensor,
    input_tensor: Tensor,
    *,
    update_idxs_tensor: Tensor | None = None,
    page_table: Tensor | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """Write one token per user in place: input [1, B, KV, D] (bf16 or float32, sharded), positions [B] and page table
    [B, pages] int32 row major; a position of -1 skips the user. Rounds to the cache's dtype. Returns the cache."""
    operation = "paged_update_cache"
    check_options(operation, compute_kernel_config=compute_kernel_config)
    device = mesh_of(operation, cache_tensor, input_tensor, update_idxs_tensor, page_table)
    _check_update(operation, cache_tensor, input_tensor, update_idxs_tensor, page_table)
    assert update_idxs_tensor is not None
    assert page_table is not None
    inputs = [cache_tensor, input_tensor, update_idxs_tensor, page_table]
    submit(operation, device, (operation, *(t.spec for t in inputs)), inputs, lambda: _update(operation, *inputs))
    return cache_tensor


def paged_fused_update_cache(
    cache_tensor1: Tensor,
    input_tensor1: Tensor,
    cache_tensor2: Tensor,
    input_tensor2: Tensor,
    *,
    update_idxs_tensor: Tensor | None = None,
    page_table: Tensor | None = None,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> tuple[Tensor, Tensor]:
    """`paged_update_cache` of K and V at once; the two inputs must stand on different cores. Returns both caches."""
    operation = "paged_fused_update_cache"
    check_options(operation, compute_kernel_config=compute_kernel_config)
    device = mesh_of(
        operation, cache_tensor1, input_tensor1, cache_tensor2, input_tensor2, update_idxs_tensor, page_table
    )
    pairs = ((cache_tensor1, input_tensor1), (cache_tensor2, input_tensor2))
    for cache, new in pairs:
        _check_update(operation, cache, new, update_idxs_tensor, page_table)
    assert update_idxs_tensor is not None
    assert page_table is not None
    if cache_tensor1.spec.dtype is not cache_tensor2.spec.dtype:
        raise fail(
            operation,
            "requires matching cache tensor dtypes, got "
            f"{cache_tensor1.spec.dtype.name} and {cache_tensor2.spec.dtype.name}",
        )
    grids = [new.spec.memory_config.shard_spec for _, new in pairs]
    cores = [set(grid.grid.cores) if grid is not None else set() for grid in grids]
    if cores[0] & cores[1]:
        raise fail(operation, f"input_tensor1 ({grids[0]}) and input_tensor2 ({grids[1]}) must not overlap")
    inputs = [cache_tensor1, input_tensor1, cache_tensor2, input_tensor2, update_idxs_tensor, page_table]

    def step() -> None:
        for cache, new in pairs:
            _update(operation, cache, new, update_idxs_tensor, page_table)

    submit(operation, device, (operation, *(t.spec for t in inputs)), inputs, step)
    return cache_tensor1, cache_tensor2


def paged_fill_cache(
    cache_tensor: Tensor,
    input_tensor: Tensor,
    page_table: Tensor,
    *,
    batch_idx_tensor: Tensor | None = None,
    batch_idx: int = 0,
    compute_kernel_config: WormholeComputeKernelConfig | None = None,
) -> Tensor:
    """Write the first S tokens of users in place: input [n, KV, S, D] in the cache's dtype.

    Row i belongs to the user batch_idx_tensor[i] (int32 or uint32 [n]), or to `batch_idx` if n = 1. A page id of -1
    skips that block. Returns the cache.
    """
    operation = "paged_fill_cache"
    check_options(operation, compute_kernel_config=compute_kernel_config)
    device = mesh_of(operation, cache_tensor, input_tensor, page_table, batch_idx_tensor)
    check_type(operation, "batch_idx", batch_idx, int)
    _check_cache(operation, cache_tensor)
    check_layout(operation, "the input", input_tensor, Layout.TILE)
    check_rank(operation, "the input", input_tensor, 4)
    _check_table(operation, page_table)
    have, cache = input_tensor.spec, cache_tensor.spec
    if have.dtype is not cache.dtype:
        raise fail(
            operation,
            f"Input tensor dtype ({have.dtype.name}) must match cache tensor dtype ({cache.dtype.name}); "
            "cast prefill K/V to the cache dtype before filling the paged cache.",
        )
    n, heads, length, head_dim = have.shape
    _, cache_heads, block, cache_dim = cache.shape
    if (heads, head_dim) != (cache_heads, cache_dim):
        raise fail(operation, f"geometry mismatch: cache {cache.shape!r}, input {have.shape!r}")
    users, pages = page_table.spec.shape
    if length > block * pages:
        raise fail(
            operation, f"Input seq_len ({length}) must fit in max_num_blocks_per_seq ({pages}) * block_size ({block})"
        )
    if batch_idx_tensor is None:
        if n != 1:
            raise fail(operation, f"When no batch_idx_tensor is provided, input_batch must be 1 (got {n})")
        if not 0 <= batch_idx < users:
            raise fail(operation, f"Batch idx {batch_idx} must be within the page_table batch size {users}")
    else:
        check_dtype(operation, "batch_idx_tensor", batch_idx_tensor, DataType.INT32, DataType.UINT32)
        if batch_idx_tensor.spec.shape != (n,):
            raise fail(
                operation,
                f"Batch idx tensor must have input_tensor batch dim ({n}) elements, got "
                f"{batch_idx_tensor.spec.shape!r}",
            )

    inputs = [cache_tensor, input_tensor, page_table] + ([] if batch_idx_tensor is None else [batch_idx_tensor])

    def step() -> None:
        owners = torch.tensor([[batch_idx]]) if batch_idx_tensor is None else batch_idx_tensor.values()
        _fill(cache_tensor, input_tensor.values(), page_table.values(), owners)

    submit(operation, device, (operation, *(t.spec for t in inputs)), inputs, step)
    return cache_tensor


def _fill(cache: Tensor, values: Values, table: Values, owners: Values) -> None:
    """values [D, n, KV, S, head_dim]; table [D, users, pages]; owners [D, n]."""
    blocks, _, block, _ = cache.spec.shape
    length = values.shape[3]
    target = _writable(cache, max(map(len, (values, table, owners))))
    if target.dtype == np.uint16 and (values.view(torch.int32) & 0xFFFF).any():  # made with rounding off
        values = as_stored(values, cache.spec.dtype, packed)
    kept = _as_kept(target, values)
    for device in range(len(target) if max(len(table), len(owners)) > 1 else 1):
        pages_of, owner_of = _per_device(table, device), _per_device(owners, device)
        for row in range(values.shape[1]):
            if not 0 <= int(owner_of[row]) < pages_of.shape[0]:
                raise fail("paged_fill_cache", f"batch idx {int(owner_of[row])} is not in the page table")
            pages = pages_of[int(owner_of[row]), : -(-length // block)].tolist()
            used = [(index, page) for index, page in enumerate(pages) if page != -1]
            check_pages("paged_fill_cache", torch.tensor([page for _, page in used]), blocks)
            for index, page in used:
                part = kept[:, row, :, index * block : (index + 1) * block]
                if table.shape[0] > 1 or owners.shape[0] > 1:
                    target[device, page, :, : part.shape[2]] = _per_device(part, device)
                else:
                    target[:, page, :, : part.shape[2]] = part
