"""A published checkpoint in this project's form."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from models.mixtral8x7b.cli.app import UsageMistake


def repack(
    folders: Annotated[
        list[Path],
        Argument(metavar="SOURCE OUTPUT", help="A checkpoint and where to write; with --verify what was written."),
    ],
    instruct: Annotated[bool, Option("--instruct", help="The flavour is instruct (default: base).")] = False,
    verify: Annotated[bool, Option("--verify", help="Check a repacked directory against its manifest.")] = False,
) -> None:
    """Repack a published Mixtral for this project.

    Into one file per layer, one tensor per expert.

    The checkpoint is a directory with consolidated.NN.pt files, Hugging Face's safetensors or Mistral's, and
    params.json or config.json. One layer is in memory at a time. A run that was stopped, by whatever, is taken up by
    the next.
    --verify reads everything and names every file that is not what was written.
    """
    if verify and (len(folders) != 1 or instruct):
        raise UsageMistake("--verify takes the repacked directory alone")
    if not verify and len(folders) != 2:
        raise UsageMistake("expected path_to_checkpoint_dir and repacked_output_dir")
    if verify:
        _verify(folders[0])
    else:
        source, output = folders
        _repack(source, output, "instruct" if instruct else "base")


def _repack(source: Path, output: Path, flavour: str) -> None:
    from models.mixtral8x7b.checkpoint.repack import repack
    from models.mixtral8x7b.progress import progress_bar

    with progress_bar("repacking") as on_progress:
        found = repack(source, output, flavour, on_progress)
    print(f"{source}: {found}; repacked into {output}")


def _verify(folder: Path) -> None:
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.checkpoint.weights import CheckpointError, listed
    from models.mixtral8x7b.progress import progress_bar

    checkpoint = RepackedCheckpoint(folder)
    with progress_bar("verifying") as on_progress:
        wrong = checkpoint.wrong_files(on_progress)
    for file, tensors in wrong.items():
        print(f"{folder / file} is wrong: {listed(tensors)}", file=sys.stderr)
    if wrong:
        raise CheckpointError(f"{len(wrong)} wrong files; delete them and repack again, which makes only those")
    print(f"{folder}: all {len(checkpoint.names())} tensors are as written")
