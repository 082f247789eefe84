"""How close the ttnn model comes to the reference with rounding on, on trained weights, in every preset.

All of it on the CPU backend: an upper bound of what chips reach. The figures: `python -m tests.accuracy_table`.
"""

from collections.abc import Callable, Iterator

import pytest
import torch
import ttnn

from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.precision import HIFI2_FP32, HIFI3_FP32, LOFI_FP32, PERFORMANCE, PRESETS, Matrix, Precision
from tests.full_width import KINDS, PRODUCTS, error, multiplied, numbers, stored
from tests.teacher_forcing import agreement, perplexity
from tests.thresholds import BFP4_ERROR, BFP8_ERROR, BOUNDS, MODULE_PCC, TOP_1, module_pcc
from tests.trained import ALL_MODULES, N_LAYERS, RUNS, Trained


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Trained:
    return Trained(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with open_mesh(8) as opened:
        yield opened


@pytest.fixture(scope="module", params=PRESETS.values(), ids=PRESETS)
def precision(request) -> Precision:
    return request.param


# ---------------------------------------------------------------- module by module, on the reference's own inputs


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("run", RUNS)
def test_modules(layer: int, run: Callable, trained: Trained, mesh: Mesh, precision: Precision) -> None:
    has_own_attention = precision is PERFORMANCE or precision.attention != PERFORMANCE.attention
    found = dict(trained.modules(mesh, precision, layer, run, ALL_MODULES if has_own_attention else ("moe", "decoder")))
    assert len(found) == (4 if has_own_attention else 2)
    for name, measured in found.items():
        assert measured >= module_pcc(name, precision.name), name


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_every_expert(layer: int, trained: Trained, mesh: Mesh, precision: Precision) -> None:
    found = dict(trained.experts(mesh, precision, layer))
    assert len(found) == 8
    assert min(found.values()) >= BOUNDS[precision.name].expert_pcc


@pytest.mark.parametrize("preset", ["performance", "accuracy"])  # the others have the first one's head
def test_lm_head(preset: str, trained: Trained, mesh: Mesh) -> None:
    assert trained.lm_head(mesh, PRESETS[preset]) >= MODULE_PCC


# ---------------------------------------------------------------- the whole model, teacher forced


@pytest.mark.parametrize("text", ["answers", "stories"])
def test_logits(text: str, trained: Trained, mesh: Mesh, precision: Precision) -> None:
    whole, bounds = trained.whole(mesh, precision, text), BOUNDS[precision.name]
    found = whole.agreement
    assert found.pcc >= bounds.logits_pcc[text], found
    assert found.top_1_decided >= TOP_1[text], found
    assert found.top_1 >= bounds.top_1, found
    assert found.top_5 >= bounds.top_5, found
    assert 0 < found.kl < bounds.kl, found
    assert abs(whole.perplexity / whole.of_reference - 1) < bounds.perplexity


def test_kl_and_perplexity_by_hand() -> None:
    fair, biased = torch.log(torch.tensor([[0.5, 0.5]])), torch.log(torch.tensor([[0.25, 0.75]]))
    same = agreement(*(torch.log_softmax(torch.randn(3, 8), -1),) * 2)
    assert (same.kl, same.top_1) == (0.0, 1.0)
    measured = 0.5 * torch.log(torch.tensor(2.0)) + 0.5 * torch.log(torch.tensor(2 / 3))
    assert _kl(biased, fair) == pytest.approx(float(measured))
    assert perplexity(7 + biased.repeat(2, 1), torch.tensor([0, 1])) == pytest.approx((4 * 4 / 3) ** 0.5)


def _kl(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """Of two tokens, with others that have no share."""
    padding = torch.full((1, 6), -1e9)
    return agreement(torch.cat((ours, padding), -1), torch.cat((theirs, padding), -1)).kl


# ---------------------------------------------------------------- single matmuls at full inner size


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PRODUCTS)
def test_full_width(kind: str, name: str) -> None:
    product = PRODUCTS[name]
    x_RK, w_KN = numbers(KINDS[kind], product.inner, product.is_gated, n_columns=64)
    for matrix in {product.matrix(precision) for precision in PRESETS.values()}:
        low, high = BFP4_ERROR if matrix.dtype is ttnn.bfloat4_b else BFP8_ERROR
        assert low < error(x_RK, w_KN, product.rows, matrix).rms < high, matrix


def test_more_phases_than_one_give_bfp4_nothing() -> None:
    """docs/precision.md, Choice: LoFi has all bits of it, and HiFi3 only the activations' last one."""
    x_RK, w_KN = numbers(KINDS["0.1 % of channels x 20"], 4096, False, n_columns=64)
    w4, w8 = stored(w_KN, ttnn.bfloat4_b), stored(w_KN, ttnn.bfloat8_b)
    lofi, hifi2, hifi3 = (kernel.math_fidelity for kernel in (LOFI_FP32, HIFI2_FP32, HIFI3_FP32))
    assert torch.equal(multiplied(x_RK, w4, lofi), multiplied(x_RK, w4, hifi2))
    assert not torch.equal(multiplied(x_RK, w8, lofi), multiplied(x_RK, w8, hifi2))
    assert torch.equal(multiplied(x_RK, w4, hifi3), x_RK.double() @ w4.double())
    in_blocks = stored(x_RK, ttnn.bfloat8_b)
    assert torch.equal(multiplied(in_blocks, w4, lofi), in_blocks.double() @ w4.double())
    errors = [error(x_RK, w_KN, ttnn.bfloat16, Matrix(ttnn.bfloat4_b, k)) for k in (LOFI_FP32, HIFI3_FP32)]
    assert abs(errors[0].rms - errors[1].rms) < 0.001 < errors[0].shrink - errors[1].shrink < 0.004
