"""The precision presets: dtypes and math fidelities of all that is stored and multiplied."""

from dataclasses import dataclass, replace

import ttnn

from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.machine import AS_DESIGNED, DESIGNED, Machine


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
    attention_chunk: int = 256  # queries and keys that attention gives a core at a time, at most; 512 has no room in L1

    def on(self, machine: Machine) -> "Precision":
        """The same as it works on this machine: matrices, attention, router and norms at another fidelity."""
        changed = replace(self, attention_chunk=machine.attention_chunk)
        if machine.fidelity == AS_DESIGNED:
            return changed
        kernel = {"HiFi3": HIFI3_FP32, "HiFi2": HIFI2_FP32}[machine.fidelity]
        matrices = {name: getattr(self, name) for name in ("w1", "w2", "w3", "attention", "lm_head")}
        others = {
            name: replace(matrix, kernel=kernel)
            for name, matrix in matrices.items()
            if matrix.dtype != ttnn.bfloat4_b  # has no more bits than its own fidelity takes
        }
        return replace(
            changed,
            **others,
            sdpa_prefill=kernel,
            sdpa_decode=kernel,
            router=kernel,
            norm=kernel,
            row_selection=kernel,
        )


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


def preset(name: str, machine: Machine = DESIGNED) -> Precision:
    """The preset of this name as it works on this machine; raises ConfigError for an unknown one."""
    if name not in PRESETS:
        raise ConfigError(f"precision is {name!r}; expected one of {', '.join(PRESETS)}")
    return PRESETS[name].on(machine)
