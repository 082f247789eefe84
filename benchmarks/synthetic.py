"""A checkpoint of random weights, with Mixtral 8x7B's real layer shapes or others, of as many layers as wanted."""

import json
from dataclasses import replace
from math import prod
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from models.mixtral8x7b.checkpoint.weights import Form, global_tensors, layer_tensors, source_shapes
from models.mixtral8x7b.config import MIXTRAL_8X7B, MixtralConfig

LAYER_BYTES = 2 * sum(prod(tensor.weight.shape(MIXTRAL_8X7B)) for tensor in layer_tensors(MIXTRAL_8X7B, 0))
GLOBAL_BYTES = 2 * sum(prod(tensor.weight.shape(MIXTRAL_8X7B)) for tensor in global_tensors())


def write_synthetic(directory: Path, form: Form, n_layers: int, sizes: MixtralConfig = MIXTRAL_8X7B) -> None:
    """In a published form: one file per layer, the embedding and the LM head in the last."""
    directory.mkdir(parents=True)
    config = replace(sizes, n_layers=n_layers)
    (directory / "params.json").write_text(json.dumps(config.to_params()))
    shapes = source_shapes(config, form)
    block = (0.02 * torch.randn(1 << 24, generator=torch.Generator().manual_seed(0))).bfloat16()
    for n in range(n_layers):
        placed = layer_tensors(config, n) + (global_tensors() if n == n_layers - 1 else [])
        keys = dict.fromkeys(tensor.key(form) for tensor in placed)
        tensors = {key: _filled(block, shapes[key], seed) for seed, key in enumerate(keys, start=1000 * n)}
        if form is Form.CONSOLIDATED:
            torch.save(tensors, directory / f"consolidated.{n:02d}.pt")
        else:
            save_file(tensors, directory / f"model-{n + 1:05d}-of-{n_layers:05d}.safetensors")


def _filled(block: Tensor, shape: tuple[int, ...], seed: int) -> Tensor:
    """The block over and over, turned by another amount for each tensor: random enough to pack, and quick to make."""
    size = prod(shape)
    return block.roll(997 * seed).repeat(-(-size // block.numel()))[:size].view(shape)
