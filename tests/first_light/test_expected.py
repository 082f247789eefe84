"""What is right for a call, and how far from it chips may be: for calls that were recorded on simulated ones.

.venv/bin/python -m pytest --target cpu tests/first_light/test_expected.py
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import ttnn_cpu
from models.mixtral8x7b.first_light import expected as rule
from models.mixtral8x7b.first_light.expected import Expected
from models.mixtral8x7b.machine import DESIGNED, Machine
from tests.recorded.calls import ALONE, DATA, read
from ttnn_cpu.witness.bounds import BITS, BOUNDS
from ttnn_cpu.witness.calls import RecordedCall
from ttnn_cpu.witness.compare import Difference, difference

LINE = Machine(fabric="line")


def recorded(operation: str, program: str = "") -> RecordedCall:
    file = next(folder / f"{operation}.npz" for folder in (DATA, ALONE) if (folder / f"{operation}.npz").exists())
    return next(call for call in read(file)[0] if program in call.program)


def expected(call: RecordedCall, target: str, machine: Machine = DESIGNED) -> Expected:
    ttnn_cpu.set_fabric_config(ttnn_cpu.FabricConfig.FABRIC_1D_RING)
    n_chips = max(tensor.n_chips for tensor in call.inputs)
    return rule.expected(
        call, ttnn_cpu.open_mesh_device(ttnn_cpu.MeshShape(1, n_chips), l1_small_size=1024), target, machine
    )


def apart(call: RecordedCall, right: Expected, change: Callable[[np.ndarray], None] = lambda words: None) -> Difference:
    """`change` gets the bits of the call's first result as unsigned words, all of them in one dim."""
    first, *others = call.results
    changed = first.values.copy()
    change(changed.reshape(-1).view(f"u{changed.itemsize}"))
    return difference(right.results, [replace(first, values=changed), *others])


def last_places(words: np.ndarray) -> None:
    """One in a hundred is one place off."""
    words[::100] ^= 1


def another_sign(words: np.ndarray) -> None:
    """Of the largest."""
    sign = 1 << 8 * words.itemsize - 1
    words[(words & ~words.dtype.type(sign)).argmax()] ^= sign


@pytest.mark.parametrize(
    ("operation", "program"),
    [("linear", "decode"), ("rms_norm", "prefill"), ("multiply", "decode"), ("add", "decode"), ("reduce_scatter", "")],
)
def test_simulated_chips_give_every_bit(operation: str, program: str) -> None:
    call = recorded(operation, program)
    right = expected(call, "sim")
    assert right.bound is BITS
    assert right.bound.holds(apart(call, right))
    assert not right.bound.holds(apart(call, right, last_places))


@pytest.mark.parametrize("operation", ["linear", "rms_norm"])
def test_chips_may_round_otherwise_here_and_there(operation: str) -> None:
    call = recorded(operation, "decode")
    right = expected(call, "device")
    assert apart(call, right).equal == 1.0
    assert right.bound.holds(apart(call, right, last_places))
    assert not right.bound.holds(apart(call, right, another_sign))
    assert (right.bound.rms, right.bound.equal) == (BOUNDS[operation].rms, 0.0)


def test_chips_add_and_move_to_the_bit() -> None:
    call = recorded("add")
    right = expected(call, "device")
    assert not right.bound.holds(apart(call, right, last_places))


@pytest.mark.parametrize("target", ["sim", "device"])
def test_what_takes_too_long_is_rounded_once(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = recorded("linear", "decode")
    assert apart(call, expected(call, target)).equal == 1.0
    monkeypatch.setattr(rule, "MOST_PRODUCTS", 0)
    right = expected(call, target)
    assert 0.0 < apart(call, right).rms < right.bound.rms == 3 * BOUNDS["linear"].rms


def test_a_sum_over_a_line_is_rounded_once() -> None:
    call = recorded("reduce_scatter")
    right = expected(call, "sim", LINE)
    assert right.bound.holds(apart(call, right))
    assert not right.bound.holds(apart(call, right, another_sign))
    assert 0.0 < apart(call, right).rms < right.bound.rms


def test_what_has_no_rule_is_rounded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decode's attention in another fidelity, which is a fallback."""
    call = recorded("transformer.paged_scaled_dot_product_attention_decode")
    kernel = dict(call.named["compute_kernel_config"]["WormholeComputeKernelConfig"], fp32_dest_acc_en=True)
    other = replace(call, named=call.named | {"compute_kernel_config": {"WormholeComputeKernelConfig": kernel}})
    right = expected(other, "sim")
    assert right.bound.holds(apart(call, right))
    assert right.bound.rms == 3 * BOUNDS[call.operation].rms


def test_the_cpu_backend_gives_what_it_gives() -> None:
    call = recorded("linear")
    right = expected(call, "cpu")
    assert right.bound is BITS
    assert not right.bound.holds(apart(call, right))
