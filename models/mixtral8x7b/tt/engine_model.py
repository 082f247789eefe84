"""The ttnn model as the engine wants it: what rows do in, ids out."""

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import torch

from models.mixtral8x7b.engine.model import Choices, ExpertSizes, Row, TakeLogits
from models.mixtral8x7b.packing import Pass, Piece
from models.mixtral8x7b.tt.engine_rows import set_rows
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.warm_up import warm_up


class EngineModel:
    """trace: the decode step is recorded and replayed. warm: every program is built first, and the recording then lives
    on; otherwise a prefill pass, which may build programs, ends it, and the next step makes it anew.

    at_once: the target computes a step before `step` could return (cpu); it is then computed when it is read, and what
    the engine does between the two, handing out the last step's tokens, is not late.

    Where the model has choices there are two steps, the plain one and one that notes the experts, which runs while a
    row reads them. While a row reads logits steps are not replayed: the host reads in their middle.
    """

    def __init__(self, model: Mixtral, trace: bool, warm: bool, at_once: bool = False) -> None:
        self.n_blocks, self.max_context = model.cache.n_blocks, model.max_context
        self.vocab_size, self.largest_pass = model.config.vocab_size, model.largest_pass
        self._model = model
        moe = model.config.moe
        sizes = ExpertSizes(model.config.n_layers, moe.num_experts, moe.num_experts_per_tok)
        self.experts = None if model.choices is None else sizes
        self._traced: dict[ExpertChoices | None, TracedStep] = {}
        if trace:
            for choices in dict.fromkeys((None, model.choices)):
                self._traced[choices] = TracedStep(model.mesh, partial(model.step, choices))
        self._lives_on, self._at_once = warm, at_once
        if warm:
            warm_up(model)
            for traced in self._traced.values():
                traced.record()
        self._reads_logits = False
        self._choices: ExpertChoices | None = None  # where steps note the experts; None: nobody reads them
        self._logits = torch.empty(0)
        self._tokens: list[int] = []

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        set_rows(rows, self._model.state, self._model.sampler)
        self._reads_logits = any(row.reads_logits for row in rows if row)
        choices = self._model.choices if any(row.reads_experts for row in rows if row) else None
        if choices is not self._choices:
            self.release()  # the other step's first run may build programs
            self._choices = choices

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> list[int]:
        def take(piece: Piece, start: int, logits: torch.Tensor) -> None:
            take_logits[piece.prompt.row](start, logits[:, : self._model.n_tokens])

        self.release()
        logits = self._model.prefill_pass(of, take, take_logits)
        if self._reads_logits:
            self._keep(self._model.copy_logits(logits))
        return self._model.sample(logits)

    def step(self) -> None:
        if not self._at_once:
            self._run_step()

    def read_tokens(self) -> list[int]:
        if self._at_once:
            self._run_step()
        self._tokens = self._model.state.read_tokens()
        return self._tokens

    def read_logits(self) -> torch.Tensor:
        """Of the ids that the tokenizer has, float32 [32, n_tokens]."""
        return self._logits

    def read_experts(self, rows: Collection[int]) -> dict[int, Choices]:
        assert self._choices is not None
        chosen = self._choices.read()
        return {row: chosen[:, row].tolist() for row in rows}

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        self._model.state.set_tokens([tokens.get(row, token) for row, token in enumerate(self._tokens)])

    def release(self) -> None:
        """Forgets the recording, where it does not live on."""
        if not self._lives_on:
            for traced in self._traced.values():
                traced.release()

    def _run_step(self) -> None:
        if self._reads_logits:
            self._model.step(self._choices, self._keep)
        elif self._traced:
            self._traced[self._choices]()
        else:
            self._model.step(self._choices)

    def _keep(self, logits: torch.Tensor) -> None:
        self._logits = logits[:, : self._model.n_tokens]
