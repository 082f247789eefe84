"""What will stand in each chip's DRAM."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from models.mixtral8x7b.cli.options import Chips, Precision
from models.mixtral8x7b.target import T3000_CHIPS, use_target


def plan(
    directory: Annotated[
        Path, Argument(metavar="DIR", help="Holds params.json or config.json; weights are not needed.")
    ],
    users: Annotated[int, Option(metavar="N", help="Served at a time; with stages in each of as many groups.")] = 32,
    context: Annotated[int, Option(metavar="TOKENS", help="Of each user.")] = 16384,
    precision: Precision = "performance",
    chips: Chips = T3000_CHIPS,
    stages: Annotated[int, Option(metavar="N", help="Machines with these chips, each with some of the layers.")] = 1,
) -> None:
    """Print what will stand in each chip's DRAM, and the speed that the cost model expects.

    Before anything is loaded. Exit code 1, with the shortage and what would fit, if it does not fit.
    """
    use_target("cpu")  # nothing is computed: only the dtypes' names are needed
    from models.mixtral8x7b.checkpoint.source import config_of
    from models.mixtral8x7b.config import ConfigError
    from models.mixtral8x7b.paging import blocks_for
    from models.mixtral8x7b.tt.layouts import DECODE_ROWS
    from models.mixtral8x7b.tt.memory_plan import plan as planned_for
    from models.mixtral8x7b.tt.mesh import MESH_SIZES, check_split
    from models.mixtral8x7b.tt.precision import preset

    config, notes = config_of(directory)
    for note in notes:
        print(f"plan: {note}", file=sys.stderr)
    if users < 1 or context < 1 or chips not in MESH_SIZES:
        raise ConfigError("--users and --context must be at least 1, --chips 1, 2, 4 or 8")
    config.check_context(context)
    check_split(config, chips)
    n_blocks = users * blocks_for(context)
    if not 1 <= stages <= config.n_layers:
        raise ConfigError(f"--stages is {stages}; expected 1 to {config.n_layers}, the number of layers")
    if stages > 1:
        most, n_blocks = -(-config.n_layers // stages), stages * n_blocks
        print(
            f"one of {stages} stages, with {most} of {config.n_layers} layers, for {stages} groups of {users} users; "
            "embedding and head are counted in each"
        )
        config = replace(config, n_layers=most)
    planned = planned_for(config, preset(precision), chips, n_blocks, context)
    print(planned.table(n_blocks))
    planned.check(n_blocks)
    if stages > 1:
        from models.mixtral8x7b.cost.stages import expected_of_stages

        print(expected_of_stages(config, precision, chips, stages, min(users, DECODE_ROWS), context))
        return
    from models.mixtral8x7b.cost.study import expected

    print(expected(config, precision, chips, min(users, DECODE_ROWS), context))
