"""What will stand in each chip's DRAM."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from models.mixtral8x7b.cli.options import Chips, Precision
from models.mixtral8x7b.target import T3000_CHIPS, use_target


def plan(
    directory: Annotated[
        Path, Argument(metavar="DIR", help="Holds params.json or config.json; weights are not needed.")
    ],
    users: Annotated[int, Option(metavar="N", help="Served at a time.")] = 32,
    context: Annotated[int, Option(metavar="TOKENS", help="Of each user.")] = 16384,
    precision: Precision = "performance",
    chips: Chips = T3000_CHIPS,
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
    planned = planned_for(config, preset(precision), chips, n_blocks, context)
    print(planned.table(n_blocks))
    planned.check(n_blocks)
    from models.mixtral8x7b.cost.study import expected

    print(expected(config, precision, chips, min(users, DECODE_ROWS), context))
