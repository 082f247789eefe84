"""Repacks a published Mixtral for this project: one file per layer, one tensor per expert.

    .venv/bin/python scripts/repack_weights.py <path_to_checkpoint_dir> <repacked_output_dir> [--instruct]
    .venv/bin/python scripts/repack_weights.py --verify <repacked_output_dir>

The checkpoint is a directory with consolidated.NN.pt files, Hugging Face's safetensors or Mistral's, and params.json or
config.json. Needs no ttnn; one layer is in memory at a time. A run that was stopped, by whatever, is taken up by
the next. --verify reads everything and names every file that is not what was written.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.program import program


@program("repack_weights")
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", metavar="dir", help="source and output; with --verify one")
    parser.add_argument("--instruct", action="store_true", help="the flavour is instruct (default: base)")
    parser.add_argument("--verify", action="store_true", help="check a repacked directory against its manifest")
    arguments = parser.parse_args()
    if arguments.verify and (len(arguments.folders) != 1 or arguments.instruct):
        parser.error("--verify takes the repacked directory alone")
    if not arguments.verify and len(arguments.folders) != 2:
        parser.error("expected path_to_checkpoint_dir and repacked_output_dir")
    if arguments.verify:
        _verify(arguments.folders[0])
    else:
        source, output = arguments.folders
        _repack(source, output, "instruct" if arguments.instruct else "base")


def _repack(source: Path, output: Path, flavour: str) -> None:
    from models.mixtral8x7b.checkpoint.repack import repack
    from models.mixtral8x7b.progress import progress_bar

    with progress_bar("repacking") as on_progress:
        found = repack(source, output, flavour, on_progress)
    print(f"{source}: {found}; repacked into {output}")


def _verify(folder: Path) -> None:
    from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
    from models.mixtral8x7b.checkpoint.weights import listed
    from models.mixtral8x7b.progress import progress_bar

    checkpoint = RepackedCheckpoint(folder)
    with progress_bar("verifying") as on_progress:
        wrong = checkpoint.wrong_files(on_progress)
    for file, tensors in wrong.items():
        print(f"{folder / file} is wrong: {listed(tensors)}", file=sys.stderr)
    if wrong:
        sys.exit(f"repack_weights: {len(wrong)} wrong files; delete them and repack again, which makes only those")
    print(f"{folder}: all {len(checkpoint.names())} tensors are as written")


if __name__ == "__main__":
    main()
