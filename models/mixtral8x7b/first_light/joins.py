"""The collectives of the model on whole numbers, whose every sum is exact, again and again: repetition hangs."""

import torch
import ttnn

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import on_every_chip, opened
from models.mixtral8x7b.tt.layouts import TILE
from models.mixtral8x7b.tt.mesh import Mesh, Placement

REPEATS, QUICK_REPEATS = 100, 10
MOST = 8  # of a number's size: the sum of 8 chips' is exact in bf16
L1, DRAM = ttnn.L1_MEMORY_CONFIG, ttnn.DRAM_MEMORY_CONFIG


def run(asked: Asked, notes: Notes) -> None:
    repeats = QUICK_REPEATS if asked.quick or asked.target != "device" else REPEATS
    checks = Checks(asked.target != "mock")
    generator = torch.Generator().manual_seed(1)
    with opened(asked, notes) as mesh:
        for repeat in range(1, repeats + 1):
            parts = torch.randint(
                -MOST, MOST + 1, (asked.chips, 1, TILE, TILE * asked.chips), generator=generator
            ).float()
            tall = torch.randint(-MOST, MOST + 1, (asked.chips, 1, TILE * asked.chips, 64), generator=generator).float()
            once(mesh, parts, tall, checks, notes, f"{repeat} of {repeats}")
    notes.far(f"{repeats} repeats, all exact, over the {asked.machine.fabric}")


def once(mesh: Mesh, parts: torch.Tensor, tall: torch.Tensor, checks: Checks, notes: Notes, which: str) -> None:
    """parts [chips, 1, rows, columns], tall [chips, 1, rows, columns]: each chip's own."""

    def put(values: torch.Tensor, memory: ttnn.MemoryConfig) -> ttnn.Tensor:
        return mesh.put(values, ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.ONE_PER_DEVICE, memory)

    def read(made: ttnn.Tensor, name: str, expected: torch.Tensor) -> None:
        found = [part.float() for part in on_every_chip(made)]
        ttnn.deallocate(made)
        checks.alike(found, f"{name}, repeat {which}", "joins")
        checks.equal(found[0][0, 0], expected, f"{name}, repeat {which}", "joins")

    notes.doing(f"all_gather of rows, repeat {which}", "joins")
    read(mesh.gather_rows(put(parts, DRAM)), "all_gather of rows", parts.flatten(0, 2))
    notes.doing(f"all_gather of columns, repeat {which}", "joins")
    read(mesh.gather_columns(put(parts, L1), L1), "all_gather of columns", torch.cat(list(parts[:, 0]), dim=-1))
    notes.doing(f"reduce_scatter and all_gather, repeat {which}", "joins")
    read(mesh.sum_over_devices(put(parts, L1), L1), "reduce_scatter and all_gather", parts.sum(0)[0])
    notes.doing(f"reduce_scatter of rows, repeat {which}", "joins")
    split = mesh.sum_and_split_rows(put(tall, DRAM))
    for chip, part in enumerate(on_every_chip(split)):
        expected = tall.sum(0)[0, TILE * chip : TILE * (chip + 1)]
        checks.equal(part.float()[0, 0], expected, f"reduce_scatter of rows, chip {chip}, repeat {which}", "joins")
    ttnn.deallocate(split)
