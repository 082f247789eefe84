"""What configurations say that people bring, and Mixtral's relatives, each with a function that writes it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.checkpoint.form_rows import THETA, Row, refused
from tests.checkpoint.published import model, write, write_config

LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}
YARN = {"factor": 4.0, "original_max_position_embeddings": 32}
YARN_OPTIONS = {"mscale": 0.7, "mscale_all_dim": 1.2, "beta_fast": 16, "beta_slow": 2, "truncate": False}
LONGROPE = {
    "short_factor": [1 + pair / 8 for pair in range(8)],
    "long_factor": [2.0] * 8,
    "original_max_position_embeddings": 100,
}
BOOKKEEPING = {"router_jitter_noise": 0.1, "use_cache": True, "_name_or_path": "x", "eos_token_id": [2, 5]}
NEUTRAL = {"attention_bias": False, "mystery": None, "clip_qkv": None, "mlp_only_layers": []}


def rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": THETA, **values}}


def old_rope(**values: Any) -> Callable[[Path], None]:
    """As transformers 4 wrote it."""

    def make(folder: Path) -> None:
        write(folder)
        write_config(folder, "rope_parameters", rope_theta=THETA, rope_scaling=values)

    return make


def with_config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: write(folder, config=changes)


def scaled(what: str, kind: str, **values: Any) -> Row:
    return Row(what, with_config(**rope(kind, **values)), rope(kind, **values))


def two_thetas(folder: Path) -> None:
    write(folder)
    write_config(folder, rope_theta=1e6)


def relative(what: str, **changes: Any) -> Row:
    return Row(what, lambda folder: write(folder, config=changes, of=model(**changes)), changes)


def quantised(**how: Any) -> Callable[[Path], None]:
    return with_config(quantization_config=how)


CONFIGURATIONS = [
    scaled("linear rotary scaling", "linear", factor=4.0),
    Row("the same as transformers 4 wrote it", old_rope(type="linear", factor=4.0), rope("linear", factor=4.0)),
    scaled("llama3 rotary scaling", "llama3", **LLAMA3),
    Row("yarn rotary scaling", old_rope(type="yarn", **YARN), rope("yarn", **YARN)),
    scaled("yarn with every option", "yarn", **YARN, **YARN_OPTIONS),
    scaled("yarn whose two bounds are one", "yarn", **YARN, beta_fast=4, beta_slow=4, truncate=False),
    scaled("dynamic rotary scaling, up to max_position_embeddings", "dynamic", factor=4.0),
    scaled("longrope, up to original_max_position_embeddings", "longrope", **LONGROPE),
    Row("rope_scaling of the type default", old_rope(type="default")),
    Row("two rope_theta: the nested one counts", two_thetas),
    Row("keys of bookkeeping, and neutral ones", with_config(**BOOKKEEPING, **NEUTRAL)),
    Row("num_experts for num_local_experts", with_config(num_local_experts=None, num_experts=4)),
    refused("an unknown rotary scaling", old_rope(type="clex", factor=16)),
    refused("rotary scalings that contradict each other", with_config(rope_scaling={"type": "linear", "factor": 2.0})),
    refused("part of a head turned", with_config(partial_rotary_factor=0.5)),
    refused("an option of a rotary scaling that is not known", with_config(**rope("linear", factor=2.0, curl=3))),
    refused("another activation", with_config(hidden_act="gelu")),
    refused("attention with biases", with_config(attention_bias=True)),
    refused("a scaled head", with_config(logit_scale=0.5)),
    refused("its own modelling code", with_config(auto_map={"AutoModel": "modeling.X"})),
    refused("another architecture", with_config(model_type="phimoe", architectures=["PhiMoEForCausalLM"])),
    refused("a classifier", with_config(architectures=["MixtralForSequenceClassification"])),
    refused("quantised, by its configuration", quantised(quant_method="awq", bits=4)),
    refused("quantised when it was loaded, with bitsandbytes", quantised(load_in_4bit=True)),
]
RELATIVES = [
    *(
        relative(f"{n} experts, {k} per token", num_local_experts=n, num_experts_per_tok=k)
        for n, k in ((2, 1), (2, 2), (3, 2), (6, 3), (8, 4), (16, 2))
    ),
    relative("head_dim that is not dim / heads", head_dim=24, num_attention_heads=6, num_key_value_heads=3),
    relative("one KV head for each query head", num_key_value_heads=4),
    relative("a vocabulary with two more tokens", vocab_size=98),
]
