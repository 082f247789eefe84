"""Single matmuls of Mixtral 8x7B's expert at full inner size, with numbers shaped like those of large models: how far
a sample of columns is from exact arithmetic. Nobody's weights: docs/precision.md says what this can and cannot tell.

A fidelity is modelled by the bits that it multiplies; sums are exact and the result is rounded once.

Shapes: R rows, K inner size, N columns of the sample; 16 of a row share an exponent, in activations and in weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import ttnn

from models.mixtral8x7b.config import MIXTRAL_8X7B
from models.mixtral8x7b.tt.precision import PRESETS, Matrix, Precision

ROWS, COLUMNS = 64, 512
_ACTIVATION_TOP = -(1 << 17)  # of a float32's bits: the hidden one and 6 of the significand, all that bfp8 has
_WEIGHT_TOP = -(1 << 19)  # the hidden one and 4: all that bfp4 has


@dataclass(frozen=True)
class Numbers:
    """How activations and weights are spread.

    `outliers` of the activations' channels are `times` the others in every row: 0.1 % and 20 times is what LLM.int8()
    (Dettmers et al. 2022) reports of models of 6.7 billion parameters, up to 100 times what SmoothQuant (Xiao et al.
    2022) reports of larger ones. `freedom` is that of Student's t for the weights, None for Gaussian ones. `spread` is
    the standard deviation of the logarithm of an output's scale, and of an activation channel's.
    """

    outliers: float
    times: float
    freedom: float | None
    spread: float


KINDS = {
    "Gaussian": Numbers(0, 1, None, 0),
    "0.1 % of channels x 20": Numbers(0.001, 20, 5, 0.3),
    "0.6 % of channels x 60": Numbers(0.006, 60, 5, 0.3),
}


@dataclass(frozen=True)
class Product:
    """Of one matrix: its inner size, what its rows are rounded to, and whether they are silu(gate) * up."""

    matrix: Callable[[Precision], Matrix]
    inner: int
    rows: ttnn.DataType
    is_gated: bool


PRODUCTS = {
    "w1, w3 in decode": Product(lambda p: p.w1, MIXTRAL_8X7B.dim, ttnn.bfloat16, False),
    "w1, w3 in prefill": Product(lambda p: p.w1, MIXTRAL_8X7B.dim, ttnn.bfloat8_b, False),
    "w2": Product(lambda p: p.w2, MIXTRAL_8X7B.hidden_dim, ttnn.bfloat8_b, True),
}


@dataclass(frozen=True)
class Error:
    rms: float  # of the results' root mean square
    shrink: float  # by how much they are smaller on average; negative: larger

    def __str__(self) -> str:
        return f"{self.rms:.2%}, {-self.shrink:+.2%}"


def numbers(kind: Numbers, inner: int, is_gated: bool, n_columns: int = COLUMNS) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations [R, K] and weights [K, N] as a checkpoint has them: bf16, as float32."""
    generator = torch.Generator().manual_seed(7)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    x_RK = torch.nn.functional.silu(normal(ROWS, inner)) * normal(ROWS, inner) if is_gated else normal(ROWS, inner)
    x_RK *= (kind.spread * normal(inner)).exp()
    chosen = torch.randperm(inner, generator=generator)[: round(kind.outliers * inner)]
    x_RK[:, chosen] *= kind.times
    w_KN = normal(inner, n_columns)
    if kind.freedom is not None:
        chi_squared = sum(normal(inner, n_columns).square() for _ in range(round(kind.freedom)))
        w_KN /= (chi_squared / kind.freedom).sqrt()
    w_KN *= inner**-0.5 * (kind.spread * normal(n_columns)).exp()
    return x_RK.bfloat16().float(), w_KN.bfloat16().float()


def error(x_RK: torch.Tensor, w_KN: torch.Tensor, rows: ttnn.DataType, matrix: Matrix) -> Error:
    """Of the product as this matrix is stored and multiplied, against that of the numbers as they are."""
    exact = x_RK.double() @ w_KN.double()
    ours = multiplied(stored(x_RK, rows), stored(w_KN, matrix.dtype), matrix.kernel.math_fidelity)
    difference = ours.bfloat16().double() - exact
    return Error(
        rms=(difference.norm() / exact.norm()).item(),
        shrink=-((difference * exact).sum() / exact.square().sum()).item(),
    )


def stored(values: torch.Tensor, dtype: ttnn.DataType) -> torch.Tensor:
    """What a tensor of this dtype holds of the values."""
    return ttnn.to_torch(ttnn.from_torch(values, dtype, layout=ttnn.TILE_LAYOUT)).float()


def multiplied(x_RK: torch.Tensor, w_KN: torch.Tensor, fidelity: ttnn.MathFidelity) -> torch.Tensor:
    """The phases that this fidelity has: top x top, then x's top times the rest of w, then x's rest times w's top."""
    x_top, w_top = _cut(x_RK, _ACTIVATION_TOP), _cut(w_KN, _WEIGHT_TOP)
    phases = [(x_top, w_top), (x_top, w_KN - w_top), (x_RK - x_top, w_top)]
    count = {ttnn.MathFidelity.LoFi: 1, ttnn.MathFidelity.HiFi2: 2, ttnn.MathFidelity.HiFi3: 3}[fidelity]
    return sum((x.double() @ w.double() for x, w in phases[:count]), torch.zeros(()))


def _cut(values: torch.Tensor, mask: int) -> torch.Tensor:
    return values.view(torch.int32).bitwise_and(mask).view(torch.float32)


def table() -> str:
    """Root mean square error, and how much larger (or smaller) the results are, by numbers, matrix and preset."""
    lines = [f"| numbers | matmul | {' | '.join(PRESETS)} |", "|" + "---|" * (2 + len(PRESETS))]
    for kind_name, kind in KINDS.items():
        for name, product in PRODUCTS.items():
            x_RK, w_KN = numbers(kind, product.inner, product.is_gated)
            found = {m: error(x_RK, w_KN, product.rows, m) for m in {product.matrix(p) for p in PRESETS.values()}}
            cells = [str(found[product.matrix(precision)]) for precision in PRESETS.values()]
            lines.append(f"| {kind_name} | {name} | {' | '.join(cells)} |")
    return "\n".join(lines)
