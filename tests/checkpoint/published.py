"""A tiny random Mixtral as people publish it, and what transformers says of it."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import MixtralConfig as HFConfig
from transformers import MixtralForCausalLM

from models.mixtral8x7b.checkpoint.weights import Form, export
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.model import Transformer
from tests.tiny_models import random_model

SIZES: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 128,
    "sliding_window": None,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "model_type": "mixtral",
    "architectures": ["MixtralForCausalLM"],
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
PLAIN = {"attn_implementation": "eager", "experts_implementation": "eager"}
Tensors = dict[str, Tensor]


@cache
def model(**changes: Any) -> Transformer:
    """Random weights for these sizes; equal for all configurations of equal sizes."""
    return random_model(MixtralConfig.from_hf(SIZES | changes))


def tensors(form: Form, of: Transformer | None = None) -> Tensors:
    of = of or model()
    return {key: value.contiguous() for key, value in export(form, of.config, of.state_dict().__getitem__)}


def write(
    folder: Path,
    change: Callable[[Tensors], Tensors] = lambda t: t,
    config: dict[str, Any] | None = None,
    form: Form = Form.HF,
    of: Transformer | None = None,
    name: str = "model.safetensors",
) -> None:
    """One file of weights that went through `change`, and config.json with changes."""
    save_file(
        {key: value.contiguous() for key, value in change(tensors(form, of)).items()},
        folder / name,
        metadata={"format": "pt"},
    )
    write_config(folder, **(config or {}))


def write_config(folder: Path, *gone: str, name: str = "config.json", **changes: Any) -> None:
    values = {key: value for key, value in (SIZES | changes).items() if key not in gone}
    (folder / name).write_text(json.dumps(values))


def write_params(folder: Path, name: str = "params.json", **changes: Any) -> None:
    """Mistral's configuration, which has neither theta nor context in most of its files."""
    values = model().config.to_params() | changes
    del values["max_seq_len"], values["sliding_window"]
    (folder / name).write_text(json.dumps(values))


def hf_logits(ids: Tensor, of: Transformer | None = None, **changes: Any) -> Tensor:
    """What transformers computes from our weights and a configuration with changes, float32."""
    sizes = {key: value for key, value in (SIZES | changes).items() if key not in ("model_type", "architectures")}
    hf = MixtralForCausalLM._from_config(HFConfig(**sizes), dtype=torch.float32, **PLAIN).eval()
    weights = tensors(Form.HF_FUSED, of)
    if sizes["tie_word_embeddings"]:
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    hf.load_state_dict(weights)
    with torch.no_grad():
        return hf(ids).logits
