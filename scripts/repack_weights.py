"""`./mixtral repack` under its known name: repacks a published Mixtral for this project.

.venv/bin/python scripts/repack_weights.py <path_to_checkpoint_dir> <repacked_output_dir> [--instruct]
.venv/bin/python scripts/repack_weights.py --verify <repacked_output_dir>
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program


@program("repack_weights")
def main() -> None:
    from models.mixtral8x7b.cli.app import run
    from models.mixtral8x7b.cli.repack import repack

    run("repack_weights", repack)


if __name__ == "__main__":
    main()
