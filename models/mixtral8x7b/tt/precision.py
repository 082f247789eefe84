"""The two precision presets: dtypes and math fidelities of all that is stored and multiplied."""

from dataclasses import dataclass

import ttnn

from models.mixtral8x7b.config import ConfigError


def _kernel(fidelity: ttnn.MathFidelity, fp32_accumulation: bool) -> ttnn.WormholeComputeKernelConfig:
    return ttnn.WormholeComputeKernelConfig(
        math_fidelity=fidelity, math_approx_mode=False, fp32_dest_acc_en=fp32_accumulation, packer_l1_acc=True
    )


HIFI2 = _kernel(ttnn.MathFidelity.HiFi2, fp32_accumulation=False)
HIFI2_FP32 = _kernel(ttnn.MathFidelity.HiFi2, fp32_accumulation=True)
# HiFi4 takes a third longer, gives bf16 and bfp8 nothing more, and with float32 accumulation is a known hardware fault.
HIFI3_FP32 = _kernel(ttnn.MathFidelity.HiFi3, fp32_accumulation=True)


@dataclass(frozen=True)
class Precision:
    """Dtypes of what is stored and fidelities of what is computed; docs/precision.md says why these.

    Activations are bf16, but for what goes into a matmul of prefill, which has its weight's dtype (minimal_matmul wants
    one for both), and the experts' hidden activations. The router is the same in both presets, bf16 weight and float32
    logits: its choice decides everything after it.
    """

    name: str
    attention_weights: ttnn.DataType  # wqkv and wo
    lm_head_weights: ttnn.DataType
    expert_weights: ttnn.DataType
    expert_activations: ttnn.DataType  # input of prefill's expert matmuls, and what silu(w1 x) * w3 x is rounded to
    kv_cache: ttnn.DataType
    parts: ttnn.DataType  # of a sum over the chips: what they send each other
    attention: ttnn.WormholeComputeKernelConfig  # the matmuls with wqkv and wo
    lm_head: ttnn.WormholeComputeKernelConfig
    experts: ttnn.WormholeComputeKernelConfig
    sdpa_prefill: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    sdpa_decode: ttnn.WormholeComputeKernelConfig = HIFI2  # more changes nothing: its error is elsewhere
    router: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    norm: ttnn.WormholeComputeKernelConfig = HIFI3_FP32
    row_selection: ttnn.WormholeComputeKernelConfig = HIFI2_FP32  # a product with 0s and 1s gives the row's own bits


PERFORMANCE = Precision(
    name="performance",
    attention_weights=ttnn.bfloat8_b,
    lm_head_weights=ttnn.bfloat8_b,
    expert_weights=ttnn.bfloat8_b,
    expert_activations=ttnn.bfloat8_b,
    kv_cache=ttnn.bfloat8_b,
    parts=ttnn.bfloat8_b,
    attention=HIFI2_FP32,
    lm_head=HIFI3_FP32,
    experts=HIFI2_FP32,
)
ACCURACY = Precision(
    name="accuracy",
    attention_weights=ttnn.bfloat16,
    lm_head_weights=ttnn.bfloat16,
    expert_activations=ttnn.bfloat8_b,
    expert_weights=ttnn.bfloat8_b,  # experts and KV stay bfp8: in bf16 they would not fit
    kv_cache=ttnn.bfloat8_b,
    parts=ttnn.bfloat16,
    attention=HIFI3_FP32,
    lm_head=HIFI3_FP32,
    experts=HIFI3_FP32,
)
PRESETS = {preset.name: preset for preset in (PERFORMANCE, ACCURACY)}


def preset(name: str) -> Precision:
    """The preset of this name; raises ConfigError for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"precision is {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name]
