"""One row of a benchmark's table: so many users at the same moment, prompts and answers of fixed lengths."""

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, median

from models.mixtral8x7b.cli.served import Served
from models.mixtral8x7b.engine.request import Request
from models.mixtral8x7b.engine.stream import Finish

COLUMNS = (
    ("batch", "users"),
    ("input", "input_tokens"),
    ("output", "output_tokens"),
    ("TTFT ms", "ttft_ms_median"),
    ("p99", "ttft_ms_p99"),
    ("TPOT ms", "tpot_ms_median"),
    ("p99", "tpot_ms_p99"),
    ("t/s/u", "tokens_s_user"),
    ("t/s", "tokens_s"),
    ("output tok/s", "output_tokens_s"),
    ("total tok/s", "total_tokens_s"),
)


@dataclass(frozen=True)
class Measured:
    """Times in milliseconds, of all users of all rounds. None where answers of one token leave nothing to measure."""

    users: int
    input_tokens: int
    output_tokens: int
    ttft_ms_median: float
    ttft_ms_p99: float
    tpot_ms_median: float | None
    tpot_ms_p99: float | None
    tokens_s_user: float | None  # 1 / mean TPOT
    tokens_s: float | None  # that times the users
    output_tokens_s: float  # of whole rounds, from the first request to the last token
    total_tokens_s: float  # prompts counted too

    def told(self) -> dict[str, float | None]:
        return asdict(self)

    def line(self) -> str:
        return _line([_shown(getattr(self, name)) for _, name in COLUMNS])


def header() -> str:
    return "\n".join((_line([title for title, _ in COLUMNS]), _line(["---:"] * len(COLUMNS))))


def measure(model: Served, users: int, input_tokens: int, output_tokens: int, rounds: int) -> Measured:
    """Raises what `Engine.submit` raises."""
    _round(model, users, input_tokens, min(output_tokens, 2), seed=0)  # builds what is built once
    finishes: list[Finish] = []
    seconds = 0.0
    for number in range(rounds):
        started = time.perf_counter()
        finishes += _round(model, users, input_tokens, output_tokens, seed=number + 1)
        seconds += time.perf_counter() - started
    first_s = [finish.first_token_s or 0.0 for finish in finishes]
    each_s = [
        (finish.total_s - first) / (finish.n_new - 1)
        for finish, first in zip(finishes, first_s, strict=True)
        if finish.n_new > 1
    ]
    per_user = 1 / mean(each_s) if each_s and mean(each_s) > 0 else None
    n_out = sum(finish.n_new for finish in finishes)
    return Measured(
        users,
        input_tokens,
        output_tokens,
        1e3 * median(first_s),
        1e3 * p99(first_s),
        1e3 * median(each_s) if each_s else None,
        1e3 * p99(each_s) if each_s else None,
        per_user,
        per_user and per_user * users,
        n_out / seconds,
        (n_out + sum(finish.n_prompt for finish in finishes)) / seconds,
    )


def p99(values: Sequence[float]) -> float:
    """The least of the values that 99 % of them do not exceed."""
    return sorted(values)[-(-99 * len(values) // 100) - 1]


def _round(model: Served, users: int, input_tokens: int, output_tokens: int, seed: int) -> list[Finish]:
    """All users ask at once; answers end with their last token, whatever it is."""
    numbers = random.Random(seed)
    prompts = [[numbers.randrange(model.tokenizer.vocab_size) for _ in range(input_tokens)] for _ in range(users)]
    streams = [model.engine.submit(Request(ids, output_tokens)) for ids in prompts]
    finishes = []
    for stream in streams:
        for _ in stream:
            pass
        assert stream.finish is not None
        finishes.append(stream.finish)
    return finishes


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(f"{cell:>{len(title)}}" for cell, (title, _) in zip(cells, COLUMNS, strict=True)) + " |"
