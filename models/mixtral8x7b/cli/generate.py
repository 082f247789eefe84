"""A prompt's answer."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.options import (
    CacheOnly,
    Checkpoint,
    Chips,
    Context,
    Fabric,
    MaxNewTokens,
    Precision,
    Seed,
    Stop,
    Target,
    Temperature,
    TopK,
    TopP,
    chosen_seed,
)
from models.mixtral8x7b.cli.prompt import checked_text, prompt_text
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target

if TYPE_CHECKING:
    from models.mixtral8x7b.cli.answer import TextStream


def generate(
    prompt: Annotated[
        str | None, Argument(metavar="PROMPT", help="The text; - or nothing: from standard input.", show_default=False)
    ] = None,
    file: Annotated[
        Path | None, Option("--file", "-f", metavar="FILE", help="The prompt is in it.", show_default=False)
    ] = None,
    raw: Annotated[
        bool, Option("--raw", help="Continue the text, though the checkpoint is instruct and was made to chat.")
    ] = False,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object, at the end.")] = False,
    n: Annotated[int, Option("--n", metavar="N", help="Answers to the prompt, with the seeds SEED, SEED + 1, ...")] = 1,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 32,
    seed: Seed = None,
    stop: Stop = None,
    checkpoint: Checkpoint = None,
    context: Context = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
    cache_only: CacheOnly = False,
) -> None:
    """Answer a prompt, or continue it.

    Standard output holds the answer alone, as it comes; several are separated by a line with ---. What runs and how
    fast it was stands on standard error.
    """
    text = prompt_text(prompt, file)
    if n < 1:
        raise UsageMistake(f"--n is {n}; expected at least 1")
    if n > 1 and temperature == 0:
        raise UsageMistake(f"--n is {n} and --temperature 0, which gives one answer {n} times; set --temperature")
    stops = [checked_text("--stop", text) for text in stop or ()]
    options = ModelOptions(checkpoint, precision, target, chips, fabric, cache_only, context)
    use_target(chosen_target(target), chips)
    from models.mixtral8x7b.cli.answer import TextStream, speed
    from models.mixtral8x7b.cli.served import Prepared
    from models.mixtral8x7b.engine.request import Request
    from models.mixtral8x7b.paging import blocks_for
    from models.mixtral8x7b.sampling import SamplingParams

    first_seed = chosen_seed(seed)
    samplings = [SamplingParams(temperature, top_k, top_p, first_seed + number) for number in range(n)]
    model = Prepared(options)
    tokenizer, most = model.tokenizer, model.max_context
    goes_on = raw or not model.is_instruct
    ids = tokenizer.encode(text) if goes_on else tokenizer.encode_chat([text.strip()])
    wanted = max_new_tokens or max(1, most - len(ids))
    tokenizer.answer(stops)  # what is wrong with them, or with the lengths, is told before it is loaded
    Request(ids, wanted).check(tokenizer.vocab_size, most, blocks_for(most))
    print(f"mixtral: {model.title} ({model.note})", file=sys.stderr, flush=True)
    with model.serving([len(ids) + wanted] * n) as served:
        answers = [TextStream(served, ids, wanted, sampling, stops, goes_on) for sampling in samplings]
        if as_json:
            _print_json(model.title, answers, first_seed)
        else:
            _print_texts(answers)
        for number, answer in enumerate(answers, start=1):
            if answer.reason == "length":
                which = f"answer {number}" if n > 1 else "the answer"
                print(f"mixtral: {which} was cut off after {wanted} tokens (--max-new-tokens)", file=sys.stderr)
        told_seed = f"; seed {first_seed}" if temperature else ""
        print(f"mixtral: {speed([one.finish for one in answers], served.weight_bytes)}{told_seed}", file=sys.stderr)


def _print_texts(answers: "Sequence[TextStream]") -> None:
    from models.mixtral8x7b.terminal import harmless

    is_watched = sys.stdout is not None and sys.stdout.isatty()
    for number, answer in enumerate(answers):
        if number:
            print("---")
        for piece in answer:
            print(harmless(piece) if is_watched else piece, end="", flush=True)
        print(flush=True)


def _print_json(title: str, answers: "Sequence[TextStream]", first_seed: int) -> None:
    from models.mixtral8x7b.cli.answer import seconds_of

    for answer in answers:
        for _ in answer:
            pass
    finishes = [answer.finish for answer in answers]
    first_s, total_s = seconds_of(finishes)
    told = {
        "model": title,
        "prompt_tokens": finishes[0].n_prompt,
        "cached_tokens": [finish.n_cached for finish in finishes],
        "answers": [
            {"text": one.text, "finish_reason": one.reason, "token_ids": one.ids, "seed": first_seed + number}
            for number, one in enumerate(answers)
        ],
        "ttft_s": first_s,
        "total_s": total_s,
    }
    print(json.dumps(told, ensure_ascii=False))
