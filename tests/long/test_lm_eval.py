"""lm-eval's `local-completions` against `mixtral serve`: what it computes of a small task is what the reference gives.

.venv/bin/python -m pytest tests/long/test_lm_eval.py -s
"""

import json
import random
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from tests.long.environments import environment
from tests.server.process import serving_process
from training.facts import Pair, seen_pairs

TASKS = Path(__file__).parent / "lm_eval"
NAMES = ("facts_choice", "facts_text")
N_ITEMS, N_CHOICES, MOST_NEW = 32, 4, 32
# Nats per token by which the server's rounding (experts in bfp8) may change the log-likelihood of a text: of one that
# the model would say; of the most unlikely; of all in the mean
OF_AN_ANSWER, OF_ANY, OF_ALL = 0.01, 0.2, 0.03


class Reference:
    """The float32 model, alone."""

    def __init__(self, folder: Path) -> None:
        repacked = tiny_checkpoint("instruct", folder)
        self.tokenizer, self._model = Tokenizer(repacked), Transformer.from_repacked(repacked)

    def scored(self, context: str, text: str) -> tuple[float, bool, int]:
        """(log-likelihood of the text behind the context in nats, whether each token is the likeliest, tokens)."""
        n, ids = len(self._encode(context)), self._encode(context + text)
        log_likelihoods = self._logits(ids[:-1])[n - 1 :].log_softmax(-1)
        wanted = torch.tensor(ids[n:])
        is_greedy = bool((log_likelihoods.argmax(-1) == wanted).all())
        return float(log_likelihoods[range(len(wanted)), wanted].sum()), is_greedy, len(wanted)

    def continued(self, context: str) -> str:
        """The greedy answer, to the end of the text."""
        ids = self._encode(context)
        n = len(ids)
        while len(ids) < n + MOST_NEW and ids[-1] != self.tokenizer.eos_id:
            ids.append(int(self._logits(ids)[-1].argmax()))
        return self.tokenizer.decode(ids).removeprefix(self.tokenizer.decode(ids[:n]))

    def _encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, bos=False)  # lm-eval asks for text without it

    def _logits(self, ids: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            return self._model(torch.tensor([ids]))[0].float()


def items() -> Iterator[dict[str, Any]]:
    """Questions, each with its answer among those to others in the same words."""
    draw, kinds = random.Random(8), dict[str, list[Pair]]()
    for pair in seen_pairs():
        kinds.setdefault(pair.fact.split(":")[0], []).append(pair)
    for number in range(N_ITEMS):
        of_kind = draw.choice(list(kinds.values()))
        pair, right = draw.choice(of_kind), number % N_CHOICES
        choices = draw.sample(sorted({one.answer for one in of_kind} - {pair.answer}), N_CHOICES - 1)
        choices.insert(right, pair.answer)
        yield {"question": pair.question, "choices": choices, "right": right}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict], dict[str, list[dict]]]:
    """lm-eval's results and samples, by task."""
    folder = tmp_path_factory.mktemp("lm_eval")
    programs = environment(folder / "environment", "lm-eval[api]>=0.4.13")
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items()))
    offline = {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    with serving_process(folder) as (_, address):
        served = (
            f"model=mixtral,base_url={address}/v1/completions,tokenizer_backend=remote,num_concurrent=8,max_length=512"
        )
        command = [programs / "lm_eval", "--model", "local-completions", "--model_args", served]
        command += [
            "--tasks",
            "facts_choice,facts_text",
            "--include_path",
            TASKS,
            "--output_path",
            "out",
            "--log_samples",
        ]
        done = subprocess.run(command, cwd=folder, env=offline, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    print(f"\n{done.stdout}")
    (results,) = (folder / "out").rglob("results_*.json")
    samples = {}
    for task in NAMES:
        (file,) = (folder / "out").rglob(f"samples_{task}_*.jsonl")
        samples[task] = [json.loads(line) for line in file.read_text().splitlines()]
        assert len(samples[task]) == N_ITEMS
    return json.loads(results.read_text())["results"], samples


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return Reference(tmp_path_factory.mktemp("tiny"))


def test_log_likelihoods_and_choices_equal_the_references(run, reference: Reference) -> None:
    results, samples = run
    n_right, off = 0, []
    for sample in samples["facts_choice"]:
        given = [sample["arguments"][f"gen_args_{n}"] for n in range(N_CHOICES)]
        ours = [reference.scored(one["arg_0"], one["arg_1"]) for one in given]
        theirs = [(float(value), is_greedy == "True") for ((value, is_greedy),) in sample["resps"]]
        for (expected, expected_greedy, n), (value, is_greedy) in zip(ours, theirs, strict=True):
            assert is_greedy == expected_greedy
            off.append(abs(value - expected) / n)
            assert off[-1] < (OF_AN_ANSWER if is_greedy else OF_ANY)
        best = max(range(N_CHOICES), key=lambda n: ours[n][0])
        assert best == max(range(N_CHOICES), key=lambda n: theirs[n][0])
        n_right += best == int(sample["target"])
    mean = sum(off) / len(off)
    print(
        f"\n{n_right} of {N_ITEMS} right; off by {mean:.4f} nats per token in the mean, {max(off):.4f} at most", end=""
    )
    assert mean < OF_ALL
    assert results["facts_choice"]["acc,none"] == n_right / N_ITEMS
    assert n_right > N_ITEMS / 2


def test_greedy_answers_equal_the_references(run, reference: Reference) -> None:
    results, samples = run
    n_right = 0
    for sample in samples["facts_text"]:
        text = reference.continued(sample["arguments"]["gen_args_0"]["arg_0"])
        assert sample["resps"] == [[text]]
        n_right += text == sample["target"]
    assert results["facts_text"]["exact_match,none"] == n_right / N_ITEMS
    assert n_right > N_ITEMS / 2
