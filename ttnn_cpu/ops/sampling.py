"""Draw the next token from the candidates that topk has left, and seed the generators."""

from __future__ import annotations

import torch

from ttnn_cpu.checks import check_dtype, check_layout, check_rank, check_type, fail, not_implemented
from ttnn_cpu.device import MeshDevice
from ttnn_cpu.dispatch import Values, mesh_of, run, submit
from ttnn_cpu.enums import TILE_SIZE, DataType, Layout
from ttnn_cpu.live_traces import note_allocation
from ttnn_cpu.ops.reduce import top_indices
from ttnn_cpu.random_state import MAX_ROWS
from ttnn_cpu.spec import tensor_spec
from ttnn_cpu.tensor import Storage, Tensor

MAX_CANDIDATES = 32
# the seed that leaves a generator alone
KEEP_STATE = 2**32 - 1


def _check(
    operation: str, values: Tensor, indices: Tensor, k: Tensor, p: Tensor, temp: Tensor, out: Tensor | None
) -> None:
    check_rank(operation, "input_values_tensor", values, 4)
    check_layout(operation, "input_values_tensor", values, Layout.TILE)
    check_dtype(operation, "input_values_tensor", values, DataType.BFLOAT16)
    check_layout(operation, "input_indices_tensor", indices, Layout.ROW_MAJOR)
    check_dtype(operation, "input_indices_tensor", indices, DataType.UINT32, DataType.INT32)
    shape = values.spec.shape
    if indices.spec.shape != shape:
        raise fail(
            operation, f"Input values and indices must have the same shape! Got {shape!r} and {indices.spec.shape!r}"
        )
    n, c, users, width = shape
    if (n, c) != (1, 1):
        raise fail(operation, f"requires input dims 0 and 1 (N, C) to be 1; got {shape!r}!")
    if not 1 <= users <= MAX_ROWS:
        raise fail(operation, f"currently supports between 1 and 32 users (one core per user); got {users}!")
    if width == 0 or width % TILE_SIZE:
        raise fail(operation, f"Input inner dim ({width}) must be non-zero and divisible by 32, pad if needed!")
    tiles = width // TILE_SIZE
    if tiles == 1:  # ttnn takes it, and its kernel hangs
        raise fail(
            operation, f"with {width} candidates the kernel waits for a second tile for ever; give it 64 or more"
        )
    if tiles & (tiles - 1):
        raise fail(
            operation, f"Input inner dim ({width}) must yield a power-of-2 number of tiles (Wt = W/32 = {tiles})"
        )
    if values.is_sharded() or indices.is_sharded():
        raise fail(operation, "the inputs must be interleaved")
    for name, tensor, dtypes in (
        ("k", k, (DataType.UINT32, DataType.INT32)),
        ("p", p, (DataType.BFLOAT16,)),
        ("temp", temp, (DataType.BFLOAT16,)),
    ):
        check_dtype(operation, name, tensor, *dtypes)
        check_layout(operation, name, tensor, Layout.ROW_MAJOR)
        if tensor.spec.shape != (users,):
            raise fail(operation, f"{name} must have shape [{users}] (one per user)! Got {tensor.spec.shape!r}")
    if out is not None:
        check_dtype(operation, "output_tensor", out, DataType.UINT32, DataType.INT32)
        check_layout(operation, "output_tensor", out, Layout.ROW_MAJOR)
        if out.spec.shape != (1, 1, 1, users):
            raise fail(operation, f"preallocated output must be [1,1,1,{users}], got {out.spec.shape!r}")


def sampling(
    input_values_tensor: Tensor,
    input_indices_tensor: Tensor,
    k: Tensor,
    p: Tensor,
    temp: Tensor,
    *,
    seed: int | None = None,
    output_tensor: Tensor | None = None,
) -> Tensor:
    """One id per row: values [1, 1, B, W] bf16 tiles, ids [1, 1, B, W] int32 or uint32 row major -> [1, 1, 1, B].

    Per row: take the k[b] largest values (1..32, the lowest index first among equals), multiply by temp[b] (which holds
    1 / temperature), softmax, keep the shortest prefix whose sum exceeds p[b] (all k if none does), draw from it. k = 1
    is greedy. W is a power of two of tiles, two or more; k [B] int32 or uint32, p and temp [B] bf16, row major.

    A `seed` other than 0 restarts every row's generator with this one seed before the draw, so that rows with equal
    candidates draw equal ids; without it the generators go on (see `manual_seed`). The result is uint32, placed as the
    values, unless `output_tensor` is given.
    """
    operation = "sampling"
    inputs = [input_values_tensor, input_indices_tensor, k, p, temp]
    mesh = mesh_of(operation, *inputs, output_tensor)
    _check(operation, input_values_tensor, input_indices_tensor, k, p, temp, output_tensor)
    if seed is not None:
        _check_seed(operation, seed)
    users = input_values_tensor.spec.shape[2]

    def compute(values: Values, ids: Values, ks: Values, ps: Values, temps: Values) -> Values:
        if seed:
            mesh.random.seed_all(seed)
        thresholds = torch.tensor(mesh.random.draw(users), dtype=torch.float32)
        if max(x.shape[0] for x in (values, ids, ks, ps, temps)) != 1:
            raise not_implemented(operation, "inputs that differ between devices", tuple(values.shape))
        counts = ks[0].long()
        if int(counts.min()) < 1 or int(counts.max()) > MAX_CANDIDATES:
            raise fail(operation, f"k must be in 1..32, got {counts.tolist()}")
        if float(ps.min()) < 0 or float(ps.max()) > 1:
            raise fail(operation, f"p must be in [0, 1], got {ps[0].tolist()}")
        chosen = draw(values[0, 0, 0], counts, ps[0], temps[0], thresholds)
        return torch.gather(ids[0, 0, 0], 1, chosen.unsqueeze(1)).reshape(1, 1, 1, 1, users)

    spec = tensor_spec((1, 1, 1, users), DataType.UINT32, Layout.ROW_MAJOR, input_values_tensor.spec.memory_config)
    return run(operation, inputs, [spec], compute, into=None if output_tensor is None else [output_tensor])[0]


def draw(values: Values, k: Values, p: Values, inverse_temperature: Values, threshold: Values) -> Values:
    """values [B, W], the rest [B] -> the column chosen in each row [B]."""
    if int(k.max()) == 1:  # as what follows would have it: the first candidate has all of the weight
        return top_indices(values, 1).squeeze(1)
    columns = top_indices(values, min(MAX_CANDIDATES, values.shape[1]))
    best = torch.gather(values, 1, columns) * inverse_temperature.unsqueeze(1)
    beyond = torch.arange(best.shape[1]) >= k.unsqueeze(1)
    weights = torch.softmax(best.masked_fill(beyond, float("-inf")), -1)
    # the prefix ends with the first candidate that lifts the sum above p; candidates beyond k weigh nothing
    kept = weights.masked_fill(torch.arange(weights.shape[1]) > first_above(weights.cumsum(-1), p).unsqueeze(1), 0.0)
    share = (kept / kept.sum(-1, keepdim=True)).cumsum(-1)
    # a row of garbage, whose shares are nan, takes its first candidate, as on silicon
    last = ((kept > 0).sum(-1) - 1).clamp(min=0)
    return torch.gather(columns, 1, torch.minimum(first_above(share, threshold), last).unsqueeze(1)).squeeze(1)


def first_above(cumulative: Values, limit: Values) -> Values:
    """The first column of every row whose sum exceeds the limit, or the number of columns."""
    return (cumulative <= limit.unsqueeze(1)).sum(-1)


def _check_seed(operation: str, seed: int) -> None:
    if not isinstance(seed, int) or not 0 <= seed <= KEEP_STATE:
        raise TypeError(f"{operation}: a seed is an integer in 0..2**32 - 1, got {seed!r}")


def manual_seed(
    seeds: int | Tensor = 0, *, device: MeshDevice | None = None, user_ids: int | Tensor | None = None
) -> Tensor:
    """Seed the generators of `sampling`'s rows: one integer for all rows or for row `user_ids`, or a tensor of seeds
    for the rows in the tensor `user_ids` (both uint32 row major [n]). The seed 2 ** 32 - 1 leaves a generator as it is.

    `device` is given with an integer seed only. Returns an empty result, as ttnn does.
    """
    operation = "manual_seed"
    if isinstance(seeds, Tensor):
        if not isinstance(user_ids, Tensor):
            raise not_implemented(operation, "a tensor of seeds with user_ids", user_ids)
        mesh = mesh_of(operation, seeds, user_ids)
        for name, tensor in (("Seeds tensor", seeds), ("User IDs tensor", user_ids)):
            check_dtype(operation, name, tensor, DataType.UINT32)
            check_layout(operation, name, tensor, Layout.ROW_MAJOR)
        if seeds.spec.shape != user_ids.spec.shape or len(seeds.spec.shape) != 1:
            raise fail(
                operation,
                f"Seeds and User IDs must have one length, got {seeds.spec.shape!r} and {user_ids.spec.shape!r}",
            )
        inputs = [seeds, user_ids]

        def pairs() -> list[tuple[int, int]]:
            return list(zip(user_ids.values()[0].tolist(), seeds.values()[0].tolist(), strict=True))

    else:
        _check_seed(operation, seeds)
        if device is None:
            raise fail(operation, "Device must be provided when seeds is a uint32_t value.")
        check_type(operation, "device", device, MeshDevice)
        if isinstance(user_ids, Tensor):
            raise not_implemented(operation, "an integer seed with a tensor of user_ids", user_ids)
        mesh, inputs, seed = device, [], seeds
        rows = range(MAX_ROWS) if user_ids is None else [user_ids]

        def pairs() -> list[tuple[int, int]]:
            return [(row, seed) for row in rows]

    def step() -> None:
        for row, seed in pairs():
            if not 0 <= row < MAX_ROWS:
                raise fail(operation, f"user id {row} is not in 0..{MAX_ROWS - 1}")
            if seed != KEEP_STATE:
                mesh.random.seed_row(row, seed)

    submit(operation, mesh, (operation, *(t.spec for t in inputs)), inputs, step)
    empty = tensor_spec((1,), DataType.UINT32, Layout.ROW_MAJOR)
    made = Tensor(empty, Storage(torch.zeros(1, 1, dtype=torch.int64)), mesh, mesh.num_devices)
    note_allocation(operation, mesh, made)
    return made
