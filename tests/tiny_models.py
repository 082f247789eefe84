"""Small random Mixtrals for tests, in the published forms."""

import json
from pathlib import Path

import torch

from models.mixtral8x7b.checkpoint.weights import Form, export
from models.mixtral8x7b.config import MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.first_light.random_models import random_model as random_model
from models.mixtral8x7b.reference.model import Transformer


def small_config(**changes: object) -> MixtralConfig:
    """2 layers, 4 query heads over 2 KV heads, 4 experts; any field can be changed."""
    values: dict = {
        "dim": 64,
        "n_layers": 2,
        "head_dim": 16,
        "hidden_dim": 96,
        "n_heads": 4,
        "n_kv_heads": 2,
        "norm_eps": 1e-5,
        "vocab_size": 128,
        "moe": MoeConfig(4, 2, Routing.RENORMALIZE),
        "max_seq_len": 512,
    }
    return MixtralConfig(**(values | changes))


def write_consolidated(
    model: Transformer, directory: Path, n_files: int = 3, dtype: torch.dtype = torch.bfloat16
) -> None:
    """Mistral's form, keys dealt over the files so that every layer is in several."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    files: list[dict[str, torch.Tensor]] = [{} for _ in range(n_files)]
    for i, (key, value) in enumerate(export(Form.CONSOLIDATED, model.config, weights.__getitem__)):
        files[i % n_files][key] = value.to(dtype)
    for i, tensors in enumerate(files):
        torch.save(tensors, directory / f"consolidated.{i:02d}.pt")
    (directory / "params.json").write_text(json.dumps(model.config.to_params()))


def write_hf(model: Transformer, directory: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Hugging Face's form, in two files."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    tensors = {k: v.to(dtype).contiguous() for k, v in export(Form.HF, model.config, model.state_dict().__getitem__)}
    names = [f"model-0000{i + 1}-of-00002.safetensors" for i in range(2)]
    place = {key: names[i % 2] for i, key in enumerate(tensors)}
    for name in names:
        save_file({k: v for k, v in tensors.items() if place[k] == name}, directory / name, metadata={"format": "pt"})
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": place}))
    (directory / "config.json").write_text(json.dumps(hf_config(model.config)))


def write_per_expert(model: Transformer, directory: Path) -> None:
    """Mistral's later form, in one file."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    weights = model.state_dict()
    tensors = {key: value.bfloat16() for key, value in export(Form.PER_EXPERT, model.config, weights.__getitem__)}
    save_file(tensors, directory / "consolidated.safetensors")
    (directory / "params.json").write_text(json.dumps(model.config.to_params()))


def hf_config(config: MixtralConfig) -> dict:
    return {
        "model_type": "mixtral",
        "hidden_size": config.dim,
        "num_hidden_layers": config.n_layers,
        "head_dim": config.head_dim,
        "intermediate_size": config.hidden_dim,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        "vocab_size": config.vocab_size,
        "num_local_experts": config.moe.num_experts,
        "num_experts_per_tok": config.moe.num_experts_per_tok,
        "max_position_embeddings": config.max_seq_len,
        "rope_theta": config.rope_theta,
        "sliding_window": config.sliding_window,
    }


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {file.name: file.read_bytes() for file in sorted(directory.iterdir())}
