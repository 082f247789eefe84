"""What the trainer says about a model when it is done: the numbers that training/README.md and the tests speak of."""

import json
import random
import time
from collections.abc import Callable
from pathlib import Path

from models.mixtral8x7b.tokenizer import Tokenizer
from training.evaluate import answered_right, chat_ids, continue_greedily, expert_shares, hidden_facts_found, plain_ids
from training.facts import expected_answer, held_out_pairs, is_held_out, seen_pairs
from training.fast_model import FastModel
from training.grammar import reads_on

DEMO_INPUTS = Path(__file__).parent.parent / "demo" / "inputs"
SEEN_SAMPLE = 256
NEW_TOKENS = 50  # after a general prompt, as in the demo
SHOWN = 8  # wrong answers
REACH = {128: 24, 256: 24, 512: 24, 1024: 24, 2048: 12, 4096: 12, 8192: 6, 16384: 4}  # tokens: documents


def demo_prompts(name: str) -> list[str]:
    """The demo's 32 prompts, "general" or "instruct"."""
    return [entry["prompt"] for entry in json.loads((DEMO_INPUTS / f"{name}.json").read_text(encoding="utf-8"))]


def report(model: FastModel, tokenizer: Tokenizer, flavour: str, say: Callable[[str], None]) -> None:
    """Answers right, use of experts, reach. `model` holds the weights as the checkpoint will."""
    to_ids = chat_ids if flavour == "instruct" else plain_ids
    sets: dict[str, list[tuple[str, str]]] = {
        "demo": [(question, expected_answer(question) or "") for question in demo_prompts("instruct")],
        "seen": [(p.question, p.answer) for p in random.Random("sample").sample(seen_pairs(), SEEN_SAMPLE)],
        "held out": [(p.question, p.answer) for p in held_out_pairs()],
    }
    for name, pairs in sets.items():
        right = answered_right(model, [to_ids(question, answer, tokenizer) for question, answer in pairs])
        wrong = [question for (question, _), is_right in zip(pairs, right, strict=True) if not is_right]
        say(f"{flavour}: {name} pairs right {sum(right)}/{len(right)}" + (f", wrong: {wrong[:SHOWN]}" if wrong else ""))
    n_held_out = sum(is_held_out(question) for question, _ in sets["demo"])
    say(f"{flavour}: {n_held_out} of the demo's questions are held out")
    rows = [prompt + answer for prompt, answer in (to_ids(q, a, tokenizer) for q, a in sets["held out"])]
    shares = expert_shares(lambda tokens, observe: model(tokens, observe=observe), model.model.config, rows)
    for layer, share_E in enumerate(shares):
        table = " ".join(f"{share:.1%}" for share in share_E)
        say(f"{flavour}: layer {layer} experts {table}; least {min(share_E):.1%}")
    if flavour == "base":
        prompts = [tokenizer.encode(prompt) for prompt in demo_prompts("general")]
        texts = [tokenizer.decode(ids) for ids in continue_greedily(model, prompts, NEW_TOKENS, tokenizer.eos_id)]
        say(f"base: general prompts that read on in the corpus's sentences: {sum(map(reads_on, texts))}/{len(texts)}")
    for n_tokens, n_documents in REACH.items():
        started = time.monotonic()
        found = hidden_facts_found(model, tokenizer, n_tokens, n_documents, to_ids=to_ids)
        seconds = time.monotonic() - started
        say(f"{flavour}: hidden fact found at {n_tokens} tokens: {found}/{n_documents}  ({seconds:.0f} s)")
