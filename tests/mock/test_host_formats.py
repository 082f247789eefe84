"""What the host writes into bf16, bfloat8_b and bfloat4_b tensors equals the real library's, bit for bit."""

from collections.abc import Callable

import pytest
import torch
import ttnn

import ttnn_cpu
from tests.cpu_backend.test_rounding import hostile

FORMATS = ("bfloat16", "bfloat8_b", "bfloat4_b")
_MIXED = torch.tensor([1.0, float("inf"), 3e-3, -float("inf"), 0.0, -0.0, float("nan"), 1e-40, -2e38, 3.4e38, 65504.0])


def random_bits(*shape: int) -> torch.Tensor:
    """Every pattern is as likely: inf, nan with any payload, denormals."""
    words = torch.randint(-(2**31), 2**31, shape, generator=torch.Generator().manual_seed(3), dtype=torch.int64)
    return words.to(torch.int32).view(torch.float32)


INPUTS: dict[str, Callable[[], torch.Tensor]] = {
    **{name: (lambda name=name: hostile()[name]) for name in hostile()},
    "inf, nan and their neighbours": lambda: _MIXED.repeat(30)[: 5 * 64].reshape(5, 64),
    "random bits": lambda: random_bits(64, 96),
    "random bits, odd": lambda: random_bits(2, 3, 7, 45),
    "negative zeros": lambda: torch.full((4, 33), -0.0),
    "transposed view": lambda: torch.randn(50, 70, generator=torch.Generator().manual_seed(4)).T,
    "one element": lambda: torch.tensor([[0.1]]),
}


def same_bits(source: torch.Tensor, dtype: str, pad_value: float | None = None) -> None:
    options = {} if pad_value is None else {"pad_value": pad_value}
    ours, real = (
        library.to_torch(
            library.from_torch(source, dtype=getattr(library, dtype), layout=library.TILE_LAYOUT, **options)
        )
        for library in (ttnn_cpu, ttnn)
    )
    assert (ours.shape, ours.dtype) == (real.shape, real.dtype)
    words = torch.int16 if real.dtype is torch.bfloat16 else torch.int32
    assert torch.equal(ours.contiguous().view(words), real.contiguous().view(words))


@pytest.mark.parametrize("source", [torch.float32, torch.bfloat16], ids=["from float32", "from bfloat16"])
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("name", INPUTS)
def test_same_bits(name: str, dtype: str, source: torch.dtype) -> None:
    same_bits(INPUTS[name]().to(source), dtype)


@pytest.mark.parametrize("source", [torch.float16, torch.float64])
@pytest.mark.parametrize("dtype", FORMATS)
def test_other_sources(source: torch.dtype, dtype: str) -> None:
    same_bits(hostile()["odd"].to(source), dtype)


@pytest.mark.parametrize("pad_value", [1.0, -100.0, 3e-5])
@pytest.mark.parametrize("dtype", FORMATS)
def test_padding(pad_value: float, dtype: str) -> None:
    same_bits(hostile()["odd"], dtype, pad_value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "uint32", "int32"])
def test_row_major(dtype: str) -> None:
    is_float = "float" in dtype
    source = random_bits(3, 45) if is_float else torch.arange(3 * 45, dtype=torch.int32).reshape(3, 45)
    ours, real = (
        library.to_torch(library.from_torch(source, dtype=getattr(library, dtype), layout=library.ROW_MAJOR_LAYOUT))
        for library in (ttnn_cpu, ttnn)
    )
    assert ours.dtype == real.dtype
    words = torch.int16 if real.dtype is torch.bfloat16 else torch.int32
    assert torch.equal(ours.view(words), real.view(words))
