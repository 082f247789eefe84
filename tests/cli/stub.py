"""A model behind the real engine that says given texts, and no text of its own."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from models.mixtral8x7b.checkpoint.tiny import CHECKPOINTS
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.served import Served
from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.engine.model import ROWS, Choices, ExpertSizes, Row, TakeLogits
from models.mixtral8x7b.packing import Pass
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.tokenizer import Tokenizer

CONTEXT = 1024


class Says:
    """Answer number `seed` of a list to whatever is asked, then EOS for ever. Notes every prompt."""

    largest_pass = 1024
    experts: ExpertSizes | None = None

    def __init__(self, answers: Sequence[Sequence[int]], tokenizer: Tokenizer, max_context: int, n_blocks: int) -> None:
        self.max_context, self.n_blocks, self.vocab_size = max_context, n_blocks, tokenizer.vocab_size
        self.prompts: list[list[int]] = []
        self._answers, self._eos = answers, tokenizer.eos_id
        self._rows: list[Row | None] = [None] * ROWS
        self.before_step: Callable[[], None] = lambda: None

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        self._rows = list(rows)

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        ends = [piece.prompt for piece in of.pieces if piece.ends_prompt]
        self.prompts += [list(prompt.ids) for prompt in ends]
        return self._drawn({prompt.row for prompt in ends})

    def step(self) -> None:
        self.before_step()
        rows = {number for number, row in enumerate(self._rows) if row and row.position is not None}
        self._tokens = self._drawn(rows)
        self._rows = [row and row._replace(next_index=row.next_index + (n in rows)) for n, row in enumerate(self._rows)]

    def read_tokens(self) -> list[int]:
        return self._tokens

    def read_logits(self) -> Any:
        raise AssertionError("nobody draws on the host")

    def read_experts(self, rows: Collection[int]) -> Mapping[int, Choices]:
        raise AssertionError("nobody asks for experts")

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        raise AssertionError("nobody draws on the host")

    def _drawn(self, rows: set[int]) -> list[int]:
        tokens = [self._eos] * ROWS
        for number in rows:
            row = self._rows[number]
            assert row is not None
            answer = self._answers[row.sampling.seed % len(self._answers)]
            tokens[number] = answer[row.next_index] if row.next_index < len(answer) else self._eos
        return tokens


class Stub:
    """Stands in for `Prepared`: the tiny tokenizer, and what a test says of the rest."""

    title, note = "a stub", "says what it is told"

    def __init__(self, flavour: str = "instruct") -> None:
        self.tokenizer = Tokenizer(CHECKPOINTS / ("mixtral-tiny-instruct" if flavour == "instruct" else "mixtral-tiny"))
        self.is_instruct = flavour == "instruct"
        self.answers: list[list[int]] = [[]]
        self.models: list[Says] = []
        self.how: Options | None = None  # of the last that served
        self.before_step: Callable[[], None] = lambda: None

    def prepare(self, options: ModelOptions) -> "Stub":
        self.options, self.max_context = options, options.context or CONTEXT
        return self

    def says(self, *texts: str) -> None:
        self.answers = [self.tokenizer.encode(text, bos=False) for text in texts]

    @contextmanager
    def serving(
        self, lengths: Sequence[int], how: Options | None = None, notes_experts: bool = False
    ) -> Iterator[Served]:
        model = Says(self.answers, self.tokenizer, self.max_context, sum(map(blocks_for, lengths)))
        model.before_step = self.before_step
        self.models.append(model)
        self.how, self.notes_experts = how, notes_experts
        with Engine(model, how or Options()) as engine:
            yield Served(engine, self.tokenizer, self.max_context, weight_bytes=None)
