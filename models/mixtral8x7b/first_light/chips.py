"""As many chips as asked are there, open together, and each keeps what it is given."""

import torch
import ttnn

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import on_every_chip, opened
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.tt.mesh import Placement

ROWS, COLUMNS = 64, 96  # tiles of each chip's part


def run(asked: Asked, notes: Notes) -> None:
    notes.doing("counting the chips")
    n_chips = ttnn.get_num_devices()
    notes.fact("chips", n_chips)
    if n_chips < asked.chips:
        raise Finding(Verdict.MISSING, f"{n_chips} chips answer; expected {asked.chips}")
    checks = Checks(asked.target != "mock")
    with opened(asked, notes) as mesh:
        grid = mesh.device.compute_with_storage_grid_size()
        notes.fact("worker cores of a chip", f"{grid.x} x {grid.y}")
        notes.fact("DRAM banks of a chip", mesh.dram_banks)
        numbers = torch.arange(asked.chips * ROWS * COLUMNS).view(asked.chips, 1, ROWS, COLUMNS).int()
        notes.doing("writing to each chip and reading back")
        for memory in (ttnn.DRAM_MEMORY_CONFIG, ttnn.L1_MEMORY_CONFIG):
            there = mesh.put(numbers, ttnn.int32, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, memory)
            for chip, part in enumerate(on_every_chip(there)):
                checks.equal(part[0, 0], numbers[chip, 0], f"what chip {chip} was given")
            ttnn.deallocate(there)
    notes.far(f"{n_chips} chips, {grid.x} x {grid.y} cores each")
