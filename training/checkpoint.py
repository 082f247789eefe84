"""Writes a trained model as Mistral publishes one: consolidated.NN.pt, params.json, tokenizer.model."""

import json
import shutil
from pathlib import Path

import torch

from models.mixtral8x7b.checkpoint.weights import Form, export
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.model import Transformer

N_FILES = 8


def write_checkpoint(model: Transformer, tokenizer_file: Path, directory: Path) -> None:
    """The weights in bf16, dealt out to the files in turn, so that a layer lies in several files as in real ones."""
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: weight.detach().bfloat16() for name, weight in model.named_parameters()}
    files: list[dict[str, torch.Tensor]] = [{} for _ in range(N_FILES)]
    for number, (key, value) in enumerate(export(Form.CONSOLIDATED, model.config, weights.__getitem__)):
        files[number % N_FILES][key] = value.contiguous().clone()  # a view would be saved with all of its storage
    for number, tensors in enumerate(files):
        torch.save(tensors, directory / f"consolidated.{number:02d}.pt")
    (directory / "params.json").write_text(json.dumps(_params(model.config), indent=4) + "\n", encoding="utf-8")
    shutil.copyfile(tokenizer_file, directory / "tokenizer.model")


def _params(config: MixtralConfig) -> dict[str, object]:
    """What Mistral's own params.json holds; rope_theta and the context are not in it."""
    names = ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size")
    moe = {"num_experts": config.moe.num_experts, "num_experts_per_tok": config.moe.num_experts_per_tok}
    return {name: getattr(config, name) for name in names} | {"moe": moe}
