"""`./mixtral plan` under its known name: what will stand in each chip's DRAM, before anything is loaded.

.venv/bin/python scripts/plan.py <directory with params.json or config.json> --users 32 --context 16384
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program


@program("plan")
def main() -> None:
    from models.mixtral8x7b.cli.app import run
    from models.mixtral8x7b.cli.plan import plan

    run("plan", plan)


if __name__ == "__main__":
    main()
