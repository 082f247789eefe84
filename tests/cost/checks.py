"""What the cost model says to a published row, in the row's own unit."""

import re
from collections.abc import Callable

from models.mixtral8x7b.cost import elementwise, matmul, sdpa
from models.mixtral8x7b.cost.chip import tiled_bytes
from models.mixtral8x7b.cost.collectives import collective
from models.mixtral8x7b.cost.host import DEVICE_LOOP_MS, GAP_US, LAUNCH_US, host_sampling_ms
from models.mixtral8x7b.cost.operation import Cost, Step
from models.mixtral8x7b.cost.tt_transformers import decode_step
from tests.cost.fit import device_ms, passes_of
from tests.cost.published import MODELS, Row

RATES = ("t/s/u", "GB/s", "TFLOP/s", "tokens/s")
# rows for which the model has nothing to say, and why
NOT_COMPUTED = {
    r"mm\.dramsharded\.eff\d": "the six shapes are not published",
    r"prof\.qwen3-8b\.norm_interleaved": "the norms of Qwen3's heads are not in the list of operations",
}
_BFP8, _BFP4, _BF16 = "BFLOAT8_B", "BFLOAT4_B", "BFLOAT16"


def not_computed(row: Row) -> str:
    """The reason, or nothing."""
    return next((reason for pattern, reason in NOT_COMPUTED.items() if re.match(pattern, row.id)), "")


def residual(row: Row) -> float:
    """Modelled time to published time, less 1: positive where the model is slower."""
    found = modelled(row)
    return row.value / found - 1 if row.unit in RATES else found / row.value - 1


def modelled(row: Row) -> float:
    for pattern, model in _MODELLED.items():
        found = re.match(pattern, row.id)
        if found:
            return model(row, *found.groups())
    if "ttft" in row.id:
        return first_token_ms(row)
    ms = step_ms(row)
    return 1e3 / ms if row.unit == "t/s/u" else ms


def step_ms(row: Row) -> float:
    step = decode_step(row.model, row.machine, row.batch, row.length, row.chosen_on_chips)
    host = DEVICE_LOOP_MS.expected if row.chosen_on_chips else host_sampling_ms(row.model.vocabulary)
    return (step.us + GAP_US.expected * step.operations) / 1e3 + host


def first_token_ms(row: Row) -> float:
    passes = passes_of(row)
    us = [max(p.us + GAP_US.expected * p.operations, LAUNCH_US.expected * p.operations) for p in passes]
    return sum(us) / 1e3 + host_sampling_ms(row.model.vocabulary)


# ---------------------------------------------------------------- operations


def _all_reduce(row: Row, fabric: str, size: str) -> float:
    return sum(collective(kind, int(size), 8, fabric).us for kind in ("reduce_scatter", "all_gather"))


def _collective(row: Row, kind: str, n_chips: str, size: str) -> float:
    return collective(kind, int(size), int(n_chips), "line").us


def _april(row: Row, width: str, when: str) -> float:
    return collective("reduce_scatter", 32 * int(width) * 2, 8, "ring", older=when == "before").us


def _in_model(row: Row, kind: str) -> float:
    return collective({"rs": "reduce_scatter", "ag": "all_gather"}[kind], 32 * 4096 * 2, 2, "line").us


def _rate(cost: Cost, inner: int, columns: int, dtype: str) -> float:
    return tiled_bytes(inner, columns, dtype) / 1e3 / cost.us


def _bandwidth(row: Row, model: str, end: str) -> float:
    """The lowest or highest rate of the model's matmuls of a decode step on 8 chips."""
    of = MODELS[{"Mixtral": "Mixtral-8x7B", "Llama3-70B": "Llama-3.1-70B"}[model]]
    hidden = of.hidden if of.has_experts else of.hidden // 8
    shapes = [(of.dim, hidden, _BFP4), (of.dim, hidden, _BFP8), (hidden, of.dim, _BFP8)]
    rates = [_rate(matmul.over_banks(32, k, n, dtype, "LoFi", 8), k, n, dtype) for k, n, dtype in shapes]
    return min(rates) if end == "lo" else max(rates)


def _fused(row: Row) -> float:
    return matmul.over_banks(32, 4096, 12288, _BFP4, "LoFi", 8).us


def _small(row: Row, which: str) -> float:
    inner, columns = {"1": (2048, 3584), "2": (3584, 2048)}[which]
    return _rate(matmul.over_banks(32, inner, columns, _BFP4, "LoFi", 8), inner, columns, _BFP4)


def _profile(row: Row, kind: str) -> float:
    step = decode_step(MODELS["Qwen3-8B"], row.machine, 1, 32768, chosen_on_chips=True)
    matmuls, choice = ("QKV", "WO", "FF1, FF3", "FF2", "head"), ("argmax", "untilize")
    logits = f"{32 * MODELS['Qwen3-8B'].vocabulary * 2} bytes"

    def us(*names: str, detail: Callable[[str], bool] = lambda text: True) -> float:
        return sum(e.us for e in step.entries if e.cost.name in names and detail(e.cost.detail)) / 1e3

    found = {
        "matmuls": us(*matmuls),
        "sdpa": us("attention"),
        "token_selection": us(*choice),
        "reduce_scatter": us("reduce_scatter"),
        "all_gather_per_layer": us("all_gather", detail=lambda text: text != logits),
        "all_gather_selection": us("all_gather", detail=lambda text: text == logits),
        "norm_sharded": us("norm"),
    }
    return found[kind] if kind != "rest" else step.us / 1e3 - sum(found.values())


def _long_attention(row: Row, model: str) -> float:
    kv_heads = {"8B_N150": 8, "8B_N300": 4}.get(model, 1)
    return sdpa.decode(1, kv_heads, 128, 65536, _BFP8).us - sdpa.decode(1, kv_heads, 128, 128, _BFP8).us


def _slope(row: Row) -> float:
    """us for each position more, all 32 layers."""
    return 32 * (sdpa.decode(32, 1, 128, 2048, _BFP8).us - sdpa.decode(32, 1, 128, 32, _BFP8).us) / (2048 - 32)


def _matmul_2d(row: Row) -> float:
    shape = re.search(r"(\d+)x(\d+)x(\d+)", row.what)
    assert shape is not None
    rows, inner, columns = map(int, shape.groups())
    moved = 0.0 if "L1" in row.what else float(tiled_bytes(rows, inner, _BF16) + tiled_bytes(rows, columns, _BF16))
    return matmul.prefill(rows, inner, columns, _BFP8, "HiFi2", moved).us


def _attention_2d(row: Row, hardware: str) -> float:
    """Not causal: as many pairs as rows times rows."""
    before = (row.length - sdpa.CHUNK) // 2
    return sdpa.prefill({"N300": 8, "T3000": 2}[hardware], 96, [(row.length, before)], 0.0).us


def _short_attention(row: Row) -> float:
    return sdpa.decode(8, 1, 128, 128, _BFP8).us


def _gate(row: Row) -> float:
    linear = matmul.narrow(32, 2880, 128, _BF16, "HiFi4", 4)
    softmax = elementwise.in_l1("softmax", 4, elementwise.SOFTMAX_PASSES)
    return Step.of([(linear, 1), (elementwise.topk(32, 128, 32, 0.0, 0.0), 1), (softmax, 1)]).us


_MODELLED: dict[str, Callable[..., float]] = {
    r"ccl\.all_reduce\.(ring|line)8\.(\d+)$": _all_reduce,
    r"ccl\.(all_gather|reduce_scatter)\.line(\d)\.(\d+)$": _collective,
    r"ccl\.rs\.2026-04\.\[1x1x32x(\d+)\]\.ring_(before|after)": _april,
    r"ccl\.(rs|ag)\.inmodel": _in_model,
    r"dram\.(Mixtral|Llama3-70B)\.(lo|hi)": _bandwidth,
    r"mm\.ff13\.fused": _fused,
    r"mm\.galaxy\.small(\d)": _small,
    r"prof\.qwen3-8b\.(\w+)": _profile,
    r"sdpa\.decode\.derived\.(\w+)": _long_attention,
    r"sdpa\.decode\.mixtral": _slope,
    r"mm2d\.": _matmul_2d,
    r"sdpa\.prefill\.(N300|T3000)": _attention_2d,
    r"galaxy70b\.fused_rope": lambda row: elementwise.ROTATION_US,
    r"galaxy70b\.paged_update_cache": lambda row: elementwise.CACHE_UPDATE_US,
    r"galaxy70b\.mul_|wh\.op\.binary": lambda row: elementwise.in_l1("multiply", 2).us,
    r"galaxy70b\.SDPA|wh\.op\.sdpa": _short_attention,
    r"moe\.gate": _gate,
    r"mixtral\.2024\.prefill\.": lambda row: row.length / device_ms(row) * 1e3,
}
