"""Prints what will stand in each chip's DRAM, before anything is loaded.

    .venv/bin/python scripts/plan.py <directory with params.json or config.json> --users 32 --context 16384

Exit code 1, with the shortage and what would fit, if it does not fit.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program


@program("plan")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, help="holds params.json or config.json; weights are not needed")
    parser.add_argument("--users", type=int, default=32, metavar="N", help="default: 32")
    parser.add_argument("--context", type=int, default=16384, metavar="TOKENS", help="of each user (default: 16384)")
    parser.add_argument("--precision", default="performance", help="performance (default), accuracy, mixed or bfp4")
    parser.add_argument("--chips", type=int, default=8, metavar="N", help="1, 2, 4 or 8 (default: 8)")
    arguments = parser.parse_args()
    from models.mixtral8x7b.target import use_target

    use_target("cpu")  # nothing is computed: only the dtypes' names are needed
    from models.mixtral8x7b.checkpoint.source import config_of
    from models.mixtral8x7b.config import ConfigError
    from models.mixtral8x7b.paging import blocks_for
    from models.mixtral8x7b.tt.memory_plan import plan
    from models.mixtral8x7b.tt.mesh import check_split
    from models.mixtral8x7b.tt.precision import preset

    config, notes = config_of(arguments.directory)
    for note in notes:
        print(f"plan: {note}", file=sys.stderr)
    if arguments.users < 1 or arguments.context < 1 or arguments.chips not in (1, 2, 4, 8):
        raise ConfigError("--users and --context must be at least 1, --chips 1, 2, 4 or 8")
    config.check_context(arguments.context)
    check_split(config, arguments.chips)
    n_blocks = arguments.users * blocks_for(arguments.context)
    planned = plan(config, preset(arguments.precision), arguments.chips, n_blocks, arguments.context)
    print(planned.table(n_blocks))
    planned.check(n_blocks)


if __name__ == "__main__":
    main()
