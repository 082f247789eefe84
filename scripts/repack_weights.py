"""Repacks a published Mixtral for this project: one file per layer, one tensor per expert.

    .venv/bin/python scripts/repack_weights.py <path_to_checkpoint_dir> <repacked_output_dir> [--instruct]

The checkpoint is a directory with consolidated.NN.pt files or Hugging Face's safetensors, and params.json or
config.json. Needs torch alone; one layer is in memory at a time.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.mixtral8x7b.repack import repack
from models.mixtral8x7b.weights import CheckpointError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, metavar="path_to_checkpoint_dir")
    parser.add_argument("output", type=Path, metavar="repacked_output_dir")
    parser.add_argument("--instruct", action="store_true", help="the flavour is instruct (default: base)")
    arguments = parser.parse_args()

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\rrepacking: {done} of {of} files", end="\n" if done == of else "", file=sys.stderr, flush=True)

    try:
        repack(arguments.checkpoint, arguments.output, "instruct" if arguments.instruct else "base", progress)
    except CheckpointError as error:
        sys.exit(f"repack_weights: {error}")
    print(f"repacked into {arguments.output}")


if __name__ == "__main__":
    main()
