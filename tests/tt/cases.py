"""Small models for the tests of tt/, whole on any of 1, 2, 4 or 8 chips, with weights that bf16 holds exactly."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from models.mixtral8x7b.config import MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.tiny_models import random_model, small_config

DEVICES = (1, 2, 4, 8)
EXACT = 1e-4  # of the largest logit: with rounding off only the order of additions differs


def sliceable_config(**changes: object) -> MixtralConfig:
    """Every slice over 8 chips is a whole number of tiles, as at full size."""
    values: dict = {
        "dim": 256,
        "n_heads": 16,
        "n_kv_heads": 8,
        "head_dim": 32,
        "hidden_dim": 64,
        "vocab_size": 512,
        "moe": MoeConfig(8, 2, Routing.RENORMALIZE),
        "max_seq_len": 4096,
    }
    return small_config(**(values | changes))


@cache
def reference(config: MixtralConfig, seed: int = 0) -> Transformer:
    model = random_model(config, seed)
    for weight in model.state_dict().values():
        weight.copy_(weight.bfloat16().float())
    return model


class InMemoryCheckpoint:
    """What CheckpointWeights needs of a repacked checkpoint, out of a reference model."""

    def __init__(self, model: Transformer) -> None:
        self.config = model.config
        self.fingerprint = "in memory"
        self.tensor = model.state_dict().__getitem__


def weights_of(model: Transformer, mesh: Mesh) -> CheckpointWeights:
    return CheckpointWeights(InMemoryCheckpoint(model), mesh, folder=None)  # type: ignore[arg-type]


@contextmanager
def exact_mesh(n_devices: int) -> Iterator[Mesh]:
    """A mesh on which nothing is rounded."""
    import ttnn_cpu

    with ttnn_cpu.exact_values(), open_mesh(n_devices) as mesh:
        yield mesh


def random_ids(config: MixtralConfig, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, config.vocab_size, shape, generator=torch.Generator().manual_seed(seed))


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Within EXACT of the largest value."""
    assert ours.shape == theirs.shape
    worst, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert worst <= EXACT * largest, f"largest difference {worst:.2e}, largest value {largest:.2e}"
