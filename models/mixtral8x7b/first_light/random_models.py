"""Models that exist in memory only, with random weights. Without ttnn."""

from collections.abc import Mapping

import torch

from models.mixtral8x7b.config import MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.reference.model import Transformer

# Whole tiles on each of 8 chips, as at full size, and one KV head on each.
SMALL = MixtralConfig(
    dim=256,
    n_layers=1,
    head_dim=32,
    hidden_dim=96,
    n_heads=16,
    n_kv_heads=8,
    norm_eps=1e-5,
    vocab_size=512,
    moe=MoeConfig(8, 2),
    max_seq_len=4096,
)


def random_model(config: MixtralConfig, seed: int = 0) -> Transformer:
    """Weights of a size that gives logits of order 1 and norms that differ from 1."""
    generator = torch.Generator().manual_seed(seed)
    model = Transformer(config).eval().requires_grad_(False)
    for name, weight in model.state_dict().items():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name:
            weight.copy_(1 + 0.2 * noise)
        else:
            weight.copy_(noise if "embed" in name else noise * weight.shape[-1] ** -0.5)
    return model


def exact_model(config: MixtralConfig, seed: int = 0) -> Transformer:
    """The same with weights that bf16 holds exactly."""
    model = random_model(config, seed)
    for weight in model.state_dict().values():
        weight.copy_(weight.bfloat16().float())
    return model


class InMemoryCheckpoint:
    """What CheckpointWeights needs of a repacked checkpoint, out of a model's weights."""

    def __init__(self, config: MixtralConfig, weights: Mapping[str, torch.Tensor]) -> None:
        self.config = config
        self._weights = weights

    def tensor(self, name: str) -> torch.Tensor:
        return self._weights[name]

    def n_parameters(self) -> int:
        return sum(weight.numel() for weight in self._weights.values())


def random_ids(config: MixtralConfig, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def prompts_of(config: MixtralConfig, lengths: list[int], first_block: int = 0) -> list[Prompt]:
    """Random prompts with 8 tokens of room after each, their blocks dealt out from the last to the first."""
    ids = random_ids(config, len(lengths), max(lengths), seed=11).tolist()
    free = list(range(first_block, first_block + sum(blocks_for(length + 8) for length in lengths)))
    return [
        Prompt(row, ids[row][:length], [free.pop() for _ in range(blocks_for(length + 8))])
        for row, length in enumerate(lengths)
    ]
