"""The precision presets: dtypes and math fidelities of all that is stored and multiplied."""

from dataclasses import dataclass, replace

import ttnn

from models.mixtral8x7b.config import ConfigError


def _kernel(fidelity: ttnn.MathFidelity, fp32_accumulation: bool) -> ttnn.WormholeComputeKernelConfig:
    return ttnn.WormholeComputeKernelConfig(
        math_fidelity=fidelity, math_approx_mode=False, fp32_dest_acc_en=fp32_accumulation, packer_l1_acc=True
    )


LOFI_FP32 = _kernel(ttnn.MathFidelity.LoFi, fp32_accumulation=True)
HIFI2 = _kernel(ttnn.MathFidelity.HiFi2, fp32_accumulation=False)
HIFI2_FP32 = _kernel(ttnn.MathFidelity.HiFi2, fp32_accumulation=True)
# HiFi4 takes a third longer, gives bf16 and bfp8 nothing more, and with float32 accumulation is a known hardware fault.
HIFI3_FP32 = _kernel(ttnn.MathFidelity.HiFi3, fp32_accumulation=True)


@dataclass(frozen=True)
class Matrix:
    """What a weight is stored in, and how it is multiplied."""

    dtype: ttnn.DataType
    kernel: ttnn.WormholeComputeKernelConfig


@dataclass(frozen=True)
class Precision:
    """Dtypes of what is stored and fidelities of what is computed; docs/precision.md says why these.

    Activations are bf16, but for what goes into a matmul of prefill, which is in block floats (of attention it has its
    weight's dtype), and the experts' hidden activations. The router is the same in all presets, bf16 weight and float32
    logits: its choice decides everything after it.
    """

    name: str
    w1: Matrix
    w2: Matrix
    w3: Matrix
    attention: Matrix  # wqkv and wo
    lm_head: Matrix
    parts: ttnn.DataType  # of a sum over the chips: what they send each other
    expert_activations: ttnn.DataType = ttnn.bfloat8_b  # input of prefill's w1 and w3, and silu(w1 x) * w3 x
    kv_cache: ttnn.DataType = ttnn.bfloat8_b
    sdpa_prefill: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    sdpa_decode: ttnn.WormholeComputeKernelConfig = HIFI2  # more changes nothing: its error is elsewhere
    router: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    norm: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    row_selection: ttnn.WormholeComputeKernelConfig = HIFI2_FP32  # a product with 0s and 1s gives the row's own bits


_BFP4 = Matrix(ttnn.bfloat4_b, LOFI_FP32)  # its 3 bits are all in LoFi's one phase: more phases add zeros
_BFP8 = Matrix(ttnn.bfloat8_b, HIFI2_FP32)
_BFP8_HIFI3 = Matrix(ttnn.bfloat8_b, HIFI3_FP32)
_BF16 = Matrix(ttnn.bfloat16, HIFI3_FP32)

PERFORMANCE = Precision(
    "performance", w1=_BFP8, w2=_BFP8, w3=_BFP8, attention=_BFP8, lm_head=_BFP8_HIFI3, parts=ttnn.bfloat8_b
)
ACCURACY = Precision(  # experts and KV stay bfp8: in bf16 they would not fit
    "accuracy",
    w1=_BFP8_HIFI3,
    w2=_BFP8_HIFI3,
    w3=_BFP8_HIFI3,
    attention=_BF16,
    lm_head=_BF16,
    parts=ttnn.bfloat16,
)
MIXED = replace(PERFORMANCE, name="mixed", w1=_BFP4, w3=_BFP4)
BFP4 = replace(MIXED, name="bfp4", w2=_BFP4)
PRESETS = {preset.name: preset for preset in (PERFORMANCE, ACCURACY, MIXED, BFP4)}


def preset(name: str) -> Precision:
    """The preset of this name; raises ConfigError for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"precision is {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
