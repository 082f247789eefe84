"""Small models for the tests of tt/, whole on any of 1, 2, 4 or 8 chips, with weights that bf16 holds exactly."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from models.mixtral8x7b.config import MixtralConfig, MoeConfig, Routing
from models.mixtral8x7b.first_light.checks import pcc as pcc
from models.mixtral8x7b.first_light.placed import Placed as Placed
from models.mixtral8x7b.first_light.placed import decode_with_cache as decode_with_cache
from models.mixtral8x7b.first_light.placed import run_decode as run_decode
from models.mixtral8x7b.first_light.placed import run_prefill as run_prefill
from models.mixtral8x7b.first_light.placed import weights_of as weights_of
from models.mixtral8x7b.first_light.random_models import exact_model
from models.mixtral8x7b.first_light.random_models import random_ids as random_ids
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from tests.tiny_models import small_config

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
    return exact_model(config, seed)


@contextmanager
def exact_mesh(n_devices: int) -> Iterator[Mesh]:
    """A mesh on which nothing is rounded."""
    import ttnn_cpu

    with ttnn_cpu.exact_values(), open_mesh(n_devices) as mesh:
        yield mesh


def assert_equal(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Within EXACT of the largest value."""
    assert ours.shape == theirs.shape
    worst, largest = (ours - theirs).abs().max().item(), theirs.abs().max().item()
    assert worst <= EXACT * largest, f"largest difference {worst:.2e}, largest value {largest:.2e}"


def normed_rows(config: MixtralConfig, n_positions: int, seed: int = 0) -> torch.Tensor:
    """Random input of a module after a norm, [32, n_positions, dim], exact in bf16."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(32, n_positions, config.dim, generator=generator).bfloat16().float()
