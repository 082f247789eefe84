"""What a row costs that the host draws: microseconds of CPU time for each token, one thread, random logits.

.venv/bin/python -m benchmarks.host_rows [--vocabulary 32000] [--tokens 300]
"""

import argparse
import time
from statistics import median, quantiles

import torch

from models.mixtral8x7b.host_rows import HostRow, RowParams, score

N_PROMPT = 4000
WORDS = [[token, token + 1, token + 2] for token in range(0, 300, 3)]
BIAS = {token: 1.0 for token in range(300)}


class Half:
    """A grammar that always allows every other token."""

    def __init__(self, vocabulary: int) -> None:
        self._mask = torch.full((-(-vocabulary // 32),), 0x55555555, dtype=torch.int32)

    def mask(self) -> torch.Tensor:
        return self._mask

    def take(self, token: int) -> None:
        pass


def requests(vocabulary: int) -> dict[str, RowParams]:
    def grammar() -> Half:
        return Half(vocabulary)

    return {
        "greedy, logprobs 0": RowParams(logprobs=0),
        "greedy, logprobs 20": RowParams(logprobs=20),
        "greedy, penalties": RowParams(presence_penalty=1, frequency_penalty=1, repetition_penalty=1.1),
        "greedy, 100 bad words, 300 biases": RowParams(bad_words=WORDS, logit_bias=BIAS),
        "greedy, grammar": RowParams(grammar=grammar),
        "no cut": RowParams(1.0, 0),
        "top_k 100": RowParams(1.0, 100),
        "top_k 8000": RowParams(1.0, 8000),
        "min_p 0.05": RowParams(1.0, 0, min_p=0.05),
        "top_p 0.9": RowParams(1.0, 0, 0.9),
        "top_p 0.9, temperature 50": RowParams(50.0, 0, 0.9),
        "all at once": RowParams(
            temperature=1.0,
            top_k=1000,
            top_p=0.9,
            min_p=0.001,
            logit_bias=BIAS,
            presence_penalty=0.5,
            frequency_penalty=0.5,
            repetition_penalty=1.1,
            bad_words=WORDS,
            min_tokens=100,
            logprobs=20,
            grammar=grammar,
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=32000)
    parser.add_argument("--tokens", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    logits_BV = (torch.randn(16, options.vocabulary, generator=generator) * 3).bfloat16().float()
    prompt = torch.randint(0, options.vocabulary, (N_PROMPT,), generator=generator).tolist()
    print(f"| a row of {options.vocabulary}, torch {torch.__version__} | median us | p95 us |\n|---|---|---|")
    for name, params in requests(options.vocabulary).items():
        row = HostRow(params, prompt, options.vocabulary, stop_ids=[2])
        answer: list[int] = []
        times: list[float] = []
        for step in range(options.tokens):
            started = time.thread_time()
            drawn = row.next_token(logits_BV[step % len(logits_BV)], answer)
            times.append((time.thread_time() - started) * 1e6)
            answer.append(drawn.token)
        print(f"| {name} | {median(times):.0f} | {quantiles(times, n=20)[-1]:.0f} |")
    for n_top in (0, 1, 20):
        started = time.thread_time()
        score(logits_BV, prompt[: len(logits_BV)], n_top)
        each = (time.thread_time() - started) * 1e6 / len(logits_BV)
        print(f"| a prompt's position, logprobs {n_top} | {each:.0f} | - |")


if __name__ == "__main__":
    main()
