"""Rotary position embedding (Su et al., 2021), interleaved pairs: elements 2i and 2i+1 of a head turn together.

This is the convention of Mistral's own files. Hugging Face pairs element i with i + head_dim/2 instead; `weights.py`
reorders the rows of wq and wk where such a checkpoint is read.
"""

import torch
from torch import Tensor

from models.mixtral8x7b.config import MixtralConfig


def rope_tables(config: MixtralConfig, n_positions: int) -> tuple[Tensor, Tensor]:
    """cos and sin of position * theta^(-2i/head_dim), each float32 [n_positions, head_dim/2].

    Scaled where the model is. In float64: at position 32767 the angle itself needs more digits than float32 has.
    """
    frequencies = torch.tensor(config.rotary_frequencies(), dtype=torch.float64)
    angles = torch.outer(torch.arange(n_positions, dtype=torch.float64), frequencies)
    magnitude = config.rotary_magnitude
    return (angles.cos() * magnitude).float(), (angles.sin() * magnitude).float()


def apply_rope(x_BSHK: Tensor, cos_SP: Tensor, sin_SP: Tensor) -> Tensor:
    """Turns every pair of x by its angle. B batch, S sequence, H heads, K head_dim, P pairs = K/2."""
    even, odd = x_BSHK[..., 0::2], x_BSHK[..., 1::2]
    cos, sin = cos_SP[:, None, :], sin_SP[:, None, :]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)
