"""Mixtral itself: what the cost model expects of it, its answers, its speed."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from models.mixtral8x7b.checkpoint.cached import Checkpoint
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import opened
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import can_trace
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.loading import load
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import preset

# Short facts that a model of any size knows. An instruct checkpoint is asked, a base one continues.
QUESTIONS = {
    "What is the capital of France?": "Paris",
    "What is the capital of Germany?": "Berlin",
    "What is the opposite of hot?": "cold",
}
TEXTS = {"The capital of France is": "Paris", "The capital of Germany is": "Berlin"}
NEW_TOKENS = 24
CONTEXT = 128  # tokens of prompt and answer, of each user
PROMPT = 96  # tokens, where speed is measured
STEP_MS, FIRST_MS = "modelled ms of a step of 32 users", "modelled ms to the first token of 1 user"
ROOF_MS = "roofline ms of a step of 32 users"


def expected(asked: Asked, notes: Notes) -> None:
    """By the cost model, on the CPU backend, without storage: no chip is used."""
    from models.mixtral8x7b.cost.study import studies

    assert asked.checkpoint is not None
    checkpoint, _ = open_checkpoint(_settings(asked), None)
    config, chips = checkpoint.config, asked.chips
    notes.doing("costing the programs")
    for _, study in studies(config, (asked.precision,), chips, asked.machine.fabric, CONTEXT, DECODE_ROWS * CONTEXT):
        step, first = study.decoding(DECODE_ROWS, CONTEXT).predicted, study.first_tokens(1, PROMPT).predicted
        for name, ms in ((STEP_MS, step.ms), (FIRST_MS, first.ms)):
            notes.fact(name, f"{ms.expected:.2f} ({ms.low:.2f} to {ms.high:.2f})")
        notes.fact(ROOF_MS, f"{step.roof_ms:.2f}")
        notes.far(f"a step {step.ms.expected:.1f} ms, roof {step.roof_ms:.1f} ms: modelled, not measured")


def answers(asked: Asked, notes: Notes) -> None:
    """The weight cache is filled, where it is not yet: that takes longer than all else."""
    with _loaded(asked, notes) as (model, tokenizer, is_instruct):
        asks = QUESTIONS if is_instruct else TEXTS
        prompts = [tokenizer.encode_chat([text]) if is_instruct else tokenizer.encode(text) for text in asks]
        notes.doing("answering")
        generator = Generator(model, _traces(asked))
        columns = list(generator.generate(prompts, NEW_TOKENS, stop_ids=tokenizer.stop_ids))
    texts = [tokenizer.decode([token for token in user if token is not None]) for user in zip(*columns, strict=True)]
    right = [word.lower() in text.lower() for word, text in zip(asks.values(), texts, strict=True)]
    notes.far(f"{sum(right)} of {len(right)} answers right")
    if asked.target != "mock" and not all(right):
        wrong = right.index(False)
        raise Finding(
            Verdict.WRONG,
            f"to {list(asks)[wrong]!r} it says {' '.join(texts[wrong].split())[:120]!r}, expected "
            f"{list(asks.values())[wrong]} in it",
            "matmul",
        )


def timing(asked: Asked, notes: Notes) -> None:
    """32 users decode, one prompt's first token; beside what the cost model expects of this program on chips."""
    with _loaded(asked, notes) as (model, tokenizer, _):
        ids = [3 + n % (tokenizer.vocab_size - 3) for n in range(PROMPT)]
        generator = Generator(model, _traces(asked))
        notes.doing("building every program")
        _times(generator, [ids] * DECODE_ROWS)
        _times(generator, [ids])
        notes.doing("measuring")
        first_ms, _ = _times(generator, [ids])
        _, step_ms = _times(generator, [ids] * DECODE_ROWS)
    notes.fact("ms of a step of 32 users", f"{step_ms:.2f}")
    notes.fact("ms to the first token of 1 user", f"{first_ms:.2f}")
    modelled = asked.earlier.get(STEP_MS)
    beside = f"modelled {modelled}, roof {asked.earlier.get(ROOF_MS)}" if modelled else "nothing modelled beside it"
    notes.far(
        f"a step {step_ms:.1f} ms, {beside}; first token {first_ms:.0f} ms, modelled {asked.earlier.get(FIRST_MS)}"
    )


def _times(generator: Generator, prompts: list[list[int]]) -> tuple[float, float]:
    """ms to the first column, and of a column after it."""
    started = time.perf_counter()
    ends = []
    for _ in generator.generate(prompts, NEW_TOKENS):
        ends.append(time.perf_counter())
    return 1e3 * (ends[0] - started), 1e3 * median(late - early for early, late in pairwise(ends))


@contextmanager
def _loaded(asked: Asked, notes: Notes) -> Iterator[tuple[Mixtral, Tokenizer, bool]]:
    settings = _settings(asked)
    checkpoint, cache = open_checkpoint(settings, None)
    tokenizer = _tokenizer(settings, checkpoint)
    with opened(asked, notes) as mesh:
        notes.doing("loading the weights")
        n_blocks = DECODE_ROWS * blocks_for(CONTEXT)
        precision = preset(asked.precision, asked.machine)
        model = load(checkpoint, cache, precision, mesh, n_blocks, CONTEXT, tokenizer.vocab_size)
        yield model, tokenizer, checkpoint.flavour == "instruct"


def _settings(asked: Asked) -> Settings:
    assert asked.checkpoint is not None
    return Settings.from_environment().with_checkpoint(Path(asked.checkpoint))


def _tokenizer(settings: Settings, checkpoint: Checkpoint) -> Tokenizer:
    tokenizer = Tokenizer(settings.tokenizer or checkpoint.directory)
    tokenizer.check_vocab_size(checkpoint.config.vocab_size)
    return tokenizer


def _traces(asked: Asked) -> bool:
    return can_trace(asked.target) and asked.machine.trace == "on"
