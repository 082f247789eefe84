"""The mesh of a step: opened as the machine wants it, and for how long."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import ttnn

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import CHIP_SECONDS, Notes
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh


@contextmanager
def opened(asked: Asked, notes: Notes) -> Iterator[Mesh]:
    """As many chips as asked, joined as this machine joins them."""
    joined = f" joined as a {asked.machine.fabric}" if asked.chips > 1 else ""
    notes.doing(f"opening {asked.chips} chips{joined}", "joins" if asked.chips > 1 else None)
    started = time.monotonic()
    with open_mesh(asked.chips, asked.machine.fabric) as mesh:
        notes.doing("working with the chips open")
        yield mesh
        notes.doing("closing the chips")
    notes.fact(CHIP_SECONDS.format(asked.step), f"{time.monotonic() - started:.1f}")


def on_every_chip(tensor: ttnn.Tensor) -> list[torch.Tensor]:
    """Each chip's part, on the host."""
    return [ttnn.to_torch(part) for part in ttnn.get_device_tensors(tensor)]
