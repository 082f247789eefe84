"""One demo run: loads the model, answers every user's prompt, prints the answers and the metrics."""

import time
from dataclasses import dataclass
from pathlib import Path

from demo.prompts import INPUTS, UserPrompt, long_prompts, short_prompts
from demo.report import block, count_right, metrics
from models.mixtral8x7b.checkpoint.cached import Checkpoint
from models.mixtral8x7b.checkpoint.tiny import TINY_NOTE
from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.machine import chosen_machine
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.progress import progress_bar
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import NUMBERS_OF, can_trace
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.loading import fill_cache, load
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import Precision, preset

USERS_AT = {128: 32, 4096: 32, 8192: 16, 16384: 8, 32768: 4}  # the original demo's batch for each context


@dataclass(frozen=True)
class DemoOptions:
    is_instruct: bool
    context: int = 128  # tokens, prompt and answer together; prompts are cut to leave room for the answer
    n_users: int | None = None  # None: USERS_AT[context]
    max_new_tokens: int = 50
    prompts: Path | None = None  # None: demo/inputs, or long text for a context above 128
    prefill: int | None = None  # tokens of a prompt that are prefilled; None: all, 0: none
    precision: str = "performance"
    cache_only: bool = False  # refuse to convert weights

    @property
    def flavour(self) -> str:
        return "instruct" if self.is_instruct else "base"


@dataclass(frozen=True)
class DemoResult:
    answers: list[str]
    n_right: int  # exactly right, of those whose answer is known
    n_known: int


def run_demo(options: DemoOptions, settings: Settings, mesh: Mesh, target: str) -> DemoResult:
    """Raises ConfigError, CheckpointError, TokenizerError, PromptsError or RequestError for what cannot be served."""
    if options.n_users is None and options.context not in USERS_AT:
        raise ConfigError(f"{options.context} is no context of the original demo, so --users must be given")
    n_users = options.n_users if options.n_users is not None else USERS_AT[options.context]
    if not 1 <= n_users <= DECODE_ROWS:
        raise ConfigError(f"{n_users} users; expected 1 to {DECODE_ROWS}")
    if options.context < 2:
        raise ConfigError(f"a context of {options.context} tokens; expected at least 2: one to read, one to answer")
    if not 1 <= options.max_new_tokens < options.context:
        raise ConfigError(
            f"{options.max_new_tokens} new tokens; expected 1 to {options.context - 1}, the context less 1"
        )
    machine = chosen_machine(target)
    precision = preset(options.precision, machine)
    checkpoint, cache = open_checkpoint(settings, options.flavour)
    checkpoint.config.check_context(options.context)
    tokenizer = Tokenizer(settings.tokenizer or checkpoint.directory)
    tokenizer.check_vocab_size(checkpoint.config.vocab_size)
    _print_head(checkpoint, settings, precision, target)
    prompts = _prompts(options, n_users, tokenizer)

    started = time.perf_counter()
    n_blocks = n_users * blocks_for(options.context)
    model = load(
        checkpoint, cache, precision, mesh, n_blocks, options.context, tokenizer.vocab_size, options.cache_only
    )
    loaded = time.perf_counter()
    columns, times = [], []
    generator = Generator(model, trace=can_trace(target) and machine.trace == "on")
    with progress_bar("answering") as on_progress:
        for column in generator.generate(
            [prompt.ids for prompt in prompts],
            options.max_new_tokens,
            stop_ids=tokenizer.stop_ids,
            prefill=options.prefill,
        ):
            columns.append(column)
            times.append(time.perf_counter())
            on_progress(min(len(columns), options.max_new_tokens), options.max_new_tokens)
    per_user = zip(*columns, strict=True)
    answers = [tokenizer.decode([token for token in tokens if token is not None]).strip() for tokens in per_user]
    for number, (prompt, answer) in enumerate(zip(prompts, answers, strict=True), start=1):
        print(block(number, prompt.text, answer))
    n_right, n_known = count_right(answers, [prompt.expected for prompt in prompts])
    print(
        metrics(_metric_rows(prompts, columns, [time - loaded for time in times], loaded - started, n_right, n_known))
    )
    return DemoResult(answers, n_right, n_known)


def warm_up(options: DemoOptions, settings: Settings, mesh: Mesh) -> None:
    """Fills the weight cache for a precision, or checks every byte that is there. Raises what run_demo raises."""
    print(fill_cache(settings, options.flavour, preset(options.precision), mesh, options.cache_only))


def _prompts(options: DemoOptions, n_users: int, tokenizer: Tokenizer) -> list[UserPrompt]:
    limit = options.context - options.max_new_tokens
    if options.prompts is None and options.context > min(USERS_AT):
        return long_prompts(n_users, limit, options.is_instruct, tokenizer)
    file = options.prompts or INPUTS / ("instruct.json" if options.is_instruct else "general.json")
    return short_prompts(file, n_users, limit, options.is_instruct, tokenizer)


def _print_head(checkpoint: Checkpoint, settings: Settings, precision: Precision, target: str) -> None:
    print(
        f"Mixtral on target {target} ({NUMBERS_OF[target]}); checkpoint {checkpoint.directory.name} "
        f"({checkpoint.flavour}, {checkpoint.n_parameters():,} parameters), precision {precision.name}."
    )
    print(f"{TINY_NOTE}\n" if settings.checkpoint is None else "")


def _metric_rows(
    prompts: list[UserPrompt],
    columns: list[list[int | None]],
    times: list[float],
    load_seconds: float,
    n_right: int,
    n_known: int,
) -> list[tuple[str, str]]:
    """times[i]: seconds from the start of generation to column i."""
    n_prompt = sum(len(prompt.ids) for prompt in prompts)
    first = next(i for i, column in enumerate(columns) if any(token is not None for token in column))
    n_new = sum(token is not None for column in columns for token in column)
    rows = [
        ("Weights loaded in", f"{load_seconds:.2f} s"),
        ("Prompts", f"{n_prompt} tokens of {len(prompts)} users"),
        ("Time to first token", f"{times[first]:.2f} s ({n_prompt / times[first]:.0f} prompt tokens/s)"),
    ]
    if len(columns) > first + 1:
        seconds = (times[-1] - times[first]) / (len(columns) - first - 1)
        rows.append(("Decode", f"{seconds * 1e3:.1f} ms/step, {1 / seconds:.1f} tokens/s/user"))
    rows.append(("New tokens", f"{n_new} in {times[-1]:.2f} s ({n_new / times[-1]:.0f} tokens/s)"))
    if n_known:
        rows.append(("Exactly right", f"{n_right} of {n_known}"))
    return rows
