"""A stage of a repacked checkpoint, as `StageProcess` and `RayStage` open it in a process of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from models.mixtral8x7b.target import T3000_CHIPS, use_target

if TYPE_CHECKING:
    from models.mixtral8x7b.tt.stage import Stage


@dataclass(frozen=True)
class StageOptions:
    """n_blocks and max_context are each group's; cache: the folder of the weights in device format, None: none.
    Paths, and what the environment says of the machine, are those of the machine where the stage is opened."""

    checkpoint: Path
    cache: Path | None
    target: str
    first_layer: int
    end_layer: int  # behind the last one
    n_groups: int
    n_blocks: int
    max_context: int
    precision: str = "performance"
    chips: int = T3000_CHIPS
    fabric: str | None = None
    n_tokens: int | None = None
    cache_only: bool = False


@contextmanager
def open_stage(options: StageOptions) -> Iterator["Stage"]:
    use_target(options.target, options.chips)
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.machine import chosen_machine
    from models.mixtral8x7b.target import can_trace
    from models.mixtral8x7b.tt.mesh import open_mesh
    from models.mixtral8x7b.tt.precision import preset
    from models.mixtral8x7b.tt.stage import Stage
    from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

    machine = chosen_machine(options.target, options.fabric)
    with open_mesh(options.chips, machine.fabric) as mesh:
        yield Stage(
            CheckpointWeights(RepackedCheckpoint(options.checkpoint), mesh, options.cache, options.cache_only),
            mesh,
            preset(options.precision, machine),
            range(options.first_layer, options.end_layer),
            options.n_groups,
            options.n_blocks,
            options.max_context,
            options.n_tokens,
            trace=can_trace(options.target) and machine.trace == "on",
        )
