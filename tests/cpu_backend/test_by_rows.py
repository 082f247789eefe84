"""An expert's chain of products is computed of the rows that are weighted by something, by a loop whose sums have one
order on every machine. The values here are mostly whole numbers, so that no order rounds: any two ways are equal."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

import ttnn_cpu as ttnn
from tests.cpu_backend.helpers import counters, get, open_mesh, put, sharded
from ttnn_cpu.by_rows import ByRows, different_rows
from ttnn_cpu.narrow import Narrow

DEVICES, ROWS, DIM, HIDDEN = 4, 32, 40, 560  # 560: more than a block of columns, and no whole number of them


def whole_numbers(*shape: int, seed: int, most: int = 2) -> torch.Tensor:
    return torch.randint(-most, most + 1, shape, generator=torch.Generator().manual_seed(seed)).float()


def weights_of_rows() -> torch.Tensor:
    """Device 0: some rows; 1: none; 2: all, of which one is negative; 3: one."""
    weights = torch.zeros(DEVICES, 1, ROWS, 1)
    weights[0, 0, [3, 4, 17, 31], 0] = torch.tensor([1.0, 0.5, 2.0, 1.0])
    weights[2] = 1.0
    weights[2, 0, 5] = -1.0
    weights[3, 0, 9] = 1.0
    return weights


class Chain:
    """w2(w1 x * w3 x) * weights, on devices that have different matrices."""

    def __init__(self, repeats: int = 1) -> None:
        """Of the rows `repeats` times."""
        self.mesh = open_mesh(DEVICES)
        self.x = put(self.mesh, whole_numbers(1, 1, repeats * ROWS, DIM, seed=0), ttnn.bfloat16)
        shapes = ((DIM, HIDDEN), (HIDDEN, DIM), (DIM, HIDDEN))
        self.w1, self.w2, self.w3 = (
            put(self.mesh, whole_numbers(DEVICES, 1, *shape, seed=n), ttnn.bfloat8_b, shard=0)
            for n, shape in enumerate(shapes, start=1)
        )
        self.weights = put(self.mesh, weights_of_rows().repeat(1, 1, repeats, 1), ttnn.bfloat16, shard=0)

    def run(self, at_once: bool = False, before_weighting: Callable[[], None] = lambda: None) -> list[torch.Tensor]:
        gate, up = ttnn.linear(self.x, self.w1), ttnn.linear(self.x, self.w3)
        if at_once:
            gate.values(), up.values()  # as if somebody read them
        hidden = ttnn.multiply(gate, up, dtype=ttnn.bfloat8_b)
        if at_once:
            hidden.values()
        out = ttnn.linear(hidden, self.w2, dtype=ttnn.bfloat16)
        assert isinstance(out.storage.unmade, ByRows)
        if at_once:
            out.values()
        before_weighting()
        weighted = ttnn.multiply(out, self.weights, dtype=ttnn.bfloat8_b)
        return [get(weighted, device) for device in range(DEVICES)]


def test_rows_that_count_are_what_they_would_be_at_once() -> None:
    chain = Chain()
    at_once, later, again = chain.run(at_once=True), chain.run(), chain.run()
    for one, other, third, weights in zip(at_once, later, again, weights_of_rows(), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(one, third)  # the weights are kept narrow by now
        assert torch.equal(other[0, 0].any(-1), weights[0, :, 0] != 0)
    assert isinstance(chain.w1.storage.unmade, Narrow)
    assert torch.equal(get(chain.w1, 1), whole_numbers(DEVICES, 1, DIM, HIDDEN, seed=1)[1:2])


def test_rows_of_a_pass() -> None:
    chain = Chain(repeats=5)  # 160: more than are multiplied with all panels before the next
    later, at_once = chain.run(), chain.run(at_once=True)
    assert all(map(torch.equal, later, at_once))
    assert isinstance(chain.w1.storage.unmade, Narrow)


def test_rows_of_garbage_stay_garbage() -> None:
    """A row in which something is inf or nan, and one that is weighted by inf, are not multiplied."""
    chain = Chain()
    clean = chain.run()
    rows = get(chain.x).clone()
    rows[0, 0, 3, 7], rows[0, 0, 9, 0] = torch.inf, torch.nan
    chain.x = put(chain.mesh, rows.float(), ttnn.bfloat16)
    weights = weights_of_rows()
    weights[2, 0, 5] = torch.inf
    chain.weights = put(chain.mesh, weights, ttnn.bfloat16, shard=0)
    for device, (at_once, later, before) in enumerate(zip(chain.run(at_once=True), chain.run(), clean, strict=True)):
        for made in (at_once, later):
            is_garbage = ~made[0, 0].float().isfinite().all(-1)
            expected = {0: [3], 1: [], 2: [3, 5, 9], 3: [9]}[device]
            assert is_garbage.nonzero().flatten().tolist() == expected
            assert torch.equal(made[0, 0, ~is_garbage], before[0, 0, ~is_garbage])


@pytest.mark.parametrize("n_rows", [33, 256])
def test_rows_that_are_alike(n_rows: int) -> None:
    """Each is found at the place of the first one that it is like, on its own device; 0 and -0 are not alike."""
    generator = np.random.default_rng(0)
    different = generator.standard_normal((2, 5, 37)).astype(np.float32)
    different[0, 1], different[0, 2] = 0.0, -0.0
    which = generator.integers(5, size=(2, n_rows))
    values = torch.from_numpy(np.take_along_axis(different, which[..., None], 1))
    counts = np.array([n_rows, n_rows - 7])
    found = different_rows(values, counts)
    assert found is not None
    wanted, places = found
    for device, n in enumerate(counts):
        first = {int(one): list(which[device]).index(one) for one in which[device, :n]}
        assert wanted.counts[device] == len(first)
        rows = wanted.rows[device, : len(first)].tolist()
        assert rows == sorted(first.values())
        assert [rows[place] for place in places[device, :n]] == [first[int(one)] for one in which[device, :n]]
    assert different_rows(torch.randn(1, n_rows, 37), np.array([n_rows])) is None


def test_padding_is_multiplied_once() -> None:
    """And the rows that are alike have other weights."""
    chain = Chain(repeats=5)
    rows = get(chain.x).float()
    rows[:, :, 50:] = rows[:, :, 50:51]
    weights = whole_numbers(DEVICES, 1, 5 * ROWS, 1, seed=7)
    chain.x = put(chain.mesh, rows, ttnn.bfloat16)
    chain.weights = put(chain.mesh, weights, ttnn.bfloat16, shard=0)
    later, at_once = chain.run(), chain.run(at_once=True)
    assert all(map(torch.equal, later, at_once))
    alone = Chain(repeats=5)
    alone.x = put(alone.mesh, rows[:, :, :51].repeat(1, 1, 4, 1)[:, :, : 5 * ROWS], ttnn.bfloat16)
    alone.weights = put(alone.mesh, weights, ttnn.bfloat16, shard=0)
    for whole, part in zip(later, alone.run(), strict=True):
        assert torch.equal(whole[0, 0, :51], part[0, 0, :51])


def test_weights_that_are_gone_or_written_over_by_then() -> None:
    """What counts is what they were when the product was asked for."""
    expected = Chain().run()
    chain = Chain()
    others = ttnn.from_torch(
        whole_numbers(DEVICES, 1, DIM, HIDDEN, seed=9),
        dtype=ttnn.bfloat8_b,
        layout=ttnn.TILE_LAYOUT,
        mesh_mapper=ttnn.ShardTensorToMesh(chain.mesh, dim=0),
    )

    def change() -> None:
        ttnn.deallocate(chain.w2)
        ttnn.copy_host_to_device_tensor(others, chain.w3)

    assert all(map(torch.equal, chain.run(before_weighting=change), expected))
    assert torch.equal(get(chain.w3, 1), whole_numbers(DEVICES, 1, DIM, HIDDEN, seed=9)[1:2])


def test_an_operand_that_is_written_in_place_is_read_at_once() -> None:
    """A KV cache of one block."""
    mesh = open_mesh()
    cache = put(mesh, torch.zeros(1, 1, 64, 32), ttnn.bfloat16)
    new = put(mesh, torch.ones(1, 1, 1, 32), ttnn.bfloat16, memory_config=sharded("HEIGHT", 1, 32, 32))
    table = counters(mesh, [[0]])
    ttnn.experimental.paged_update_cache(cache, new, update_idxs_tensor=counters(mesh, [0]), page_table=table)
    x = put(mesh, torch.ones(1, 1, 32, 64), ttnn.bfloat16)
    before = ttnn.linear(x, cache)
    ttnn.experimental.paged_update_cache(cache, new, update_idxs_tensor=counters(mesh, [1]), page_table=table)
    assert torch.equal(get(before).float(), torch.ones(1, 1, 32, 32))
    assert torch.equal(get(ttnn.linear(x, cache)).float(), torch.full((1, 1, 32, 32), 2.0))


def test_a_mode_holds_for_what_was_asked_for_in_it() -> None:
    """silu makes numbers that bfloat16 does not hold."""
    mesh = open_mesh()
    x = put(mesh, whole_numbers(1, 1, 32, 32, seed=0), ttnn.bfloat16)
    w = put(mesh, whole_numbers(1, 1, 32, 32, seed=1), ttnn.bfloat16)
    expected = get(ttnn.linear(x, w, activation="silu")).float()
    y = ttnn.linear(x, w, activation="silu")
    with ttnn.exact_values():
        assert torch.equal(get(y).float(), expected)
        assert not torch.equal(get(ttnn.linear(x, w, activation="silu")).float(), expected)


def test_weights_of_more_bits_are_multiplied_all_the_same() -> None:
    """They were made with rounding off."""
    with ttnn.exact_values():
        chain = Chain()
        extra = whole_numbers(DEVICES, 1, DIM, HIDDEN, seed=1) + 2.0**-12
        chain.w1 = put(chain.mesh, extra, ttnn.bfloat8_b, shard=0)
    for one, other in zip(chain.run(at_once=True), chain.run(), strict=True):
        assert torch.equal(one, other)
    assert chain.w1.storage.unmade is None


@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5, 6, 7, 23, 131])
@pytest.mark.parametrize(("inner", "width"), [(1, 1), (40, 53), (256, 128)])
def test_the_order_of_sums(n_rows: int, inner: int, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x, w = (
        torch.randn(shape, generator=generator).bfloat16().float() for shape in ((2, n_rows, inner), (2, inner, width))
    )
    weight = Narrow.of(w[:, None])
    assert weight is not None
    assert torch.equal(weight(), w[:, None])
    counts = np.array([n_rows, n_rows // 2])
    expected = np.zeros((2, n_rows, width), np.float32)
    for k in range(inner):
        expected += x.numpy()[..., k, None] * w.numpy()[:, k, None]  # an exact product
    expected[1, n_rows // 2 :] = 0
    assert torch.equal(weight.times(x, counts), torch.from_numpy(expected))
    assert torch.equal(weight.times(x[:1], counts[:1])[1], weight.times(x[:1].expand(2, -1, -1), counts[:1])[1])


def test_values_of_nine_bits_are_not_narrow() -> None:
    assert Narrow.of(torch.tensor([[1.0, 1 + 2.0**-7]])) is not None
    assert Narrow.of(torch.tensor([[1.0, 1 + 2.0**-8]])) is None
