"""Fetches a published Mixtral from a model hub, for repack_weights.py: verified, and only the files that it needs.

    .venv/bin/python scripts/download_weights.py mistralai/Mixtral-8x7B-Instruct-v0.1 <dir> [--revision COMMIT]

Run again after a failure: files that are complete and right are kept. A gated repository wants a login: `hf auth login`
or HF_TOKEN. Another hub: HF_ENDPOINT.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program
from models.mixtral8x7b.settings import Settings


@program("download_weights")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repo_id", help="owner/name of the repository")
    parser.add_argument("directory", type=Path, metavar="dir", help="new, empty, or an earlier download of the same")
    parser.add_argument("--revision", default="main", metavar="REV", help="branch, tag or commit (default: main)")
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before huggingface_hub is imported
    if Settings.from_environment().caches is None:  # or huggingface_hub makes a folder called ~
        os.environ.setdefault("HF_HOME", str(arguments.directory / ".partial" / "home"))
    from models.mixtral8x7b.checkpoint.download import RECORD, download

    done = download(arguments.repo_id, arguments.directory, arguments.revision, partial(print, flush=True))
    directory = arguments.directory.resolve()
    repack = [
        sys.executable,
        str(Path(sys.argv[0]).with_name("repack_weights.py")),
        str(directory),
        f"{directory}-repacked",
    ]
    flavour = ["--instruct"] if "instruct" in arguments.repo_id.lower() else []
    print(f"complete and verified; {directory / RECORD} records commit {done.commit}; next:")
    print(f"    {shlex.join(repack + flavour)}")


if __name__ == "__main__":
    main()
