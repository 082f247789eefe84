"""A published checkpoint, fetched from a model hub."""

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from models.mixtral8x7b.settings import Settings

LAUNCHER = Path(__file__).resolve().parents[3] / "mixtral"


def download(
    repo_id: Annotated[str, Argument(metavar="REPO", help="owner/name of the repository.")],
    directory: Annotated[Path, Argument(metavar="DIR", help="New, empty, or an earlier download of the same.")],
    revision: Annotated[str, Option(metavar="REV", help="Branch, tag or commit.")] = "main",
) -> None:
    """Fetch a published Mixtral from a model hub.

    Verified, and only the files that repack needs. Run again after a failure: files that are complete and right are
    kept. A gated repository wants a login: `hf auth login` or HF_TOKEN. Another hub: HF_ENDPOINT.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # before huggingface_hub is imported
    if Settings.from_environment().caches is None:  # or huggingface_hub makes a folder called ~
        os.environ.setdefault("HF_HOME", str(directory / ".partial" / "home"))
    from models.mixtral8x7b.checkpoint.download import RECORD
    from models.mixtral8x7b.checkpoint.download import download as fetched

    done = fetched(repo_id, directory, revision, partial(print, flush=True))
    directory = directory.resolve()
    flavour = ["--instruct"] if "instruct" in repo_id.lower() else []
    print(f"complete and verified; {directory / RECORD} records commit {done.commit}; next:")
    print(f"    {shlex.join([str(LAUNCHER), 'repack', str(directory), f'{directory}-repacked', *flavour])}")
