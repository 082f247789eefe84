"""Trains the two tiny checkpoints: .venv/bin/python -m training.train --out checkpoints"""

import argparse
from pathlib import Path

from models.mixtral8x7b.program import program

SEED = 1


@program("train")
def main() -> None:
    parser = argparse.ArgumentParser(description="Train the tiny checkpoints (about 20 minutes on two cores).")
    parser.add_argument("--out", type=Path, required=True, help="where the two checkpoint folders go")
    parser.add_argument("--seed", type=int, default=SEED, help="of corpus, weights and order (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="same seed and threads, same weights (%(default)s)")
    arguments = parser.parse_args()
    import torch

    from training.loop import train_flavours

    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    train_flavours(arguments.out, arguments.seed, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
