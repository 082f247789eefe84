"""What the text of a step costs the host: microseconds for 32 ids, one of each row, with and without stop strings.

.venv/bin/python -m benchmarks.answer_text [tokenizer.model or tokenizer.json]
"""

import sys
import time
from pathlib import Path
from statistics import median, quantiles

from models.mixtral8x7b.tokenizer import Tokenizer

ROWS = 32
TINY = Path(__file__).resolve().parent.parent / "checkpoints" / "mixtral-tiny-instruct"
TEXT = "The quick brown fox, naïve as ever, met 3,141 dogs in 東京 🙂.\n\n\tThen it said: 'no'! " * 20
STOPS = {
    "no stop string": [],
    "4 stop strings": ["\n\n\n", "User:", "</s>", "The end"],
    "100 stop strings": [f"stop {number}" for number in range(100)],
    "one of 10,000 characters": ["The quick brown fox" * 500],
}


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else TINY
    tokenizer = Tokenizer(path)
    ids = tokenizer.encode(TEXT, bos=False)
    print(f"| {ROWS} rows, {tokenizer.vocab_size} pieces, {path.name} | median us | p95 us |\n|---|---|---|")
    for name, stops in STOPS.items():
        answers, times = [tokenizer.answer(stops) for _ in range(ROWS)], []
        for step in range(len(ids)):
            started = time.thread_time()
            for row, answer in enumerate(answers):
                answer.push(ids[(step + 7 * row) % len(ids)])
            times.append((time.thread_time() - started) * 1e6)
        print(f"| {name} | {median(times):.0f} | {quantiles(times, n=20)[-1]:.0f} |")


if __name__ == "__main__":
    main()
