"""`./mixtral download` under its known name: fetches a published Mixtral from a model hub, for repack_weights.py.

.venv/bin/python scripts/download_weights.py mistralai/Mixtral-8x7B-Instruct-v0.1 <dir> [--revision COMMIT]
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program


@program("download_weights")
def main() -> None:
    from models.mixtral8x7b.cli.app import run
    from models.mixtral8x7b.cli.download import download

    run("download_weights", download)


if __name__ == "__main__":
    main()
