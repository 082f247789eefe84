"""A stand-in for vllm-tt-plugin: calls the model as its runner does, with tensors of its shapes, for a few requests.

Requests decode in rows that are packed at the front and close up when one ends. A slot is where the model has what it
keeps of a request. What a call must not look at is filled with numbers that would do harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
import ttnn

from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.vllm.adapter import VllmMixtral
from models.mixtral8x7b.vllm.contracts import CommandedMixtral, ResetMixtral
from tests.engine.test_on_the_model import CONFIG, CONTEXT, build

MAX_BATCH = 5
HARM = 99  # a token, or a position, that a call must not use
OF_A_REQUEST = blocks_for(CONTEXT)


@dataclass(eq=False)
class Asks:
    """A request, and its answer so far. `hit`: positions whose keys and values are in its first blocks already."""

    prompt: list[int]
    n_new: int
    temperature: float = 0.0
    top_k: int = 512
    seed: int | None = None
    presence_penalty: float = 0.0
    logprobs: bool = False
    hit: int = 0
    blocks: list[int] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    told: list[float] = field(default_factory=list)  # log-probabilities

    @property
    def ids(self) -> list[int]:
        return self.prompt + self.answer


class Plugin:
    def __init__(
        self,
        kind: type[VllmMixtral],
        mesh: Mesh,
        on_device: bool = True,
        trace: bool = True,
        is_async: bool = False,
        n_blocks: int = 60,
    ) -> None:
        self.built: list[Mixtral] = []

        def built(n_blocks: int) -> Mixtral:
            self.built.append(build(mesh, n_blocks))
            return self.built[-1]

        self.model: Any = kind(built, CONFIG, mesh, MAX_BATCH)
        heads = CONFIG.n_kv_heads // mesh.n_devices
        self.cache = self.model.allocate_kv_cache(
            (n_blocks, heads, KV_BLOCK, CONFIG.head_dim), torch.bfloat16, CONFIG.n_layers
        )
        self.rows: list[Asks] = []
        self._on_device, self._trace, self._is_async = on_device, trace, is_async
        self._slots: dict[Asks, int] = {}
        self._changed = False
        self._free = list(range(n_blocks))[::-1]
        self._page_table = torch.zeros(0, 0, dtype=torch.int32)
        self._pending: tuple[list[Asks], Any, list[Any]] | None = None

    def serve(self, *groups: Sequence[Asks], steps_between: int = 2) -> None:
        """Groups are prefilled together, some steps of all apart; till all are answered."""
        for group in groups:
            self.prefill(group)
            for _ in range(steps_between):
                self.step()
        while self.rows:
            self.step()

    # ---------------------------------------------------------------- prefill

    def prefill(self, group: Sequence[Asks]) -> None:
        self.drain()
        for one in group:
            one.blocks += [self._free.pop() for _ in range(blocks_for(len(one.ids)) - len(one.blocks))]
        tokens = torch.zeros(len(group), max(len(one.ids) for one in group), dtype=torch.int32)
        for row, one in enumerate(group):
            tokens[row, : len(one.ids)] = torch.tensor(one.ids)
        free = [slot for slot in range(MAX_BATCH) if slot not in self._slots.values()]
        slots = free[: len(group)]
        call = {
            "tokens": tokens,
            "page_table": self._table(group, len(group)),
            "kv_cache": self.cache,
            "enable_trace": self._trace,
            "prompt_lens": [len(one.ids) for one in group],
            "start_pos": torch.tensor([one.hit for one in group]),
            "empty_slots": slots,
        }
        if self._on_device:
            call["sampling_params"] = asked(group, len(group))
        self._take(group, self.model.prefill_forward(**call))
        self._slots |= dict(zip(group, slots, strict=True))
        self.rows += group
        self._changed = True
        self._leave()

    # ---------------------------------------------------------------- decode

    def step(self) -> None:
        if self._changed or not self._is_async or any(len(one.answer) == one.n_new for one in self.rows):
            self.drain()  # who has ended may have been in one step more
        if not self.rows:
            return
        behind = int(self._pending is not None)  # tokens that are drawn and not known yet
        for one in self.rows:
            while len(one.blocks) < blocks_for(len(one.ids) + behind):
                one.blocks.append(self._free.pop())
        padding = MAX_BATCH - len(self.rows)
        tokens = torch.tensor([[one.ids[-1]] for one in self.rows] + [[0]] * padding, dtype=torch.int32)
        positions = torch.tensor([len(one.ids) - 1 for one in self.rows] + [-1] * padding, dtype=torch.int32)
        table = self._table(self.rows, MAX_BATCH)
        call: dict[str, Any] = {"page_table": table, "kv_cache": self.cache, "enable_trace": self._trace}
        changed, self._changed = self._changed, False
        if self._on_device:
            call["sampling_params"] = asked(self.rows, MAX_BATCH)
            if any(one.presence_penalty for one in self.rows):
                call |= self._histories()
        if (remap := self._remap()) is not None:
            call["slot_remap"] = torch.tensor(remap, dtype=torch.int32)
        reload = changed or not self._on_device
        if isinstance(self.model, CommandedMixtral):
            new_table = not torch.equal(table, self._page_table)
            call |= {"reload_inputs": reload, "reload_page_table": new_table and not reload}
            call |= dict.fromkeys(("reload_sampling_params", "reset_sampling_state"), changed and self._on_device)
            if not (reload or new_table):
                call["page_table"] = torch.full_like(table, HARM)
        elif self._on_device:
            assert isinstance(self.model, ResetMixtral)
            call["reset_batch"] = changed
        self._page_table = table
        if not reload:
            tokens, positions = torch.full_like(tokens, HARM), torch.full_like(positions, HARM)
        out = self.model.decode_forward(tokens=tokens, start_pos=positions, read_from_device=False, **call)
        before, self._pending = self._pending, None
        host, events = self.model.read_decode_output(out, async_read=True) if self._is_async else (out, [])
        self._pending = (list(self.rows), host, events)
        if before is not None:
            self._finish(*before)
        if not self._is_async:
            self.drain()
        self._leave()

    def drain(self) -> None:
        """Reads what was started."""
        if self._pending is not None:
            pending, self._pending = self._pending, None
            self._finish(*pending)
        self._leave()

    def _finish(self, rows: Sequence[Asks], out: Any, events: Sequence[Any]) -> None:
        for event in events:
            ttnn.event_synchronize(event)
        self._take(rows, self.model.process_decode_output_host(out, is_tokens=self._on_device))

    def _take(self, rows: Sequence[Asks], out: Any) -> None:
        """Logits [B, 1, vocab], of which this host takes the best, ids [B], or ids and log-probabilities."""
        told = None
        if isinstance(out, tuple):
            out, told = out
        if not self._on_device:
            assert out.shape[1:] == (1, CONFIG.vocab_size)
            out = out[:, -1].argmax(-1)
        for row, one in enumerate(rows):
            if len(one.answer) < one.n_new:
                one.answer.append(int(out[row]))
                if told is not None:
                    one.told.append(float(told[row]))

    def _leave(self) -> None:
        """Those whose answer is whole."""
        left = [one for one in self.rows if len(one.answer) < one.n_new]
        if self._pending is None and len(left) < len(self.rows):
            for one in set(self.rows) - set(left):
                del self._slots[one]
            self.rows, self._changed = left, True

    def preempt(self, one: Asks) -> None:
        """Its row and blocks are gone; it can be prefilled again, answer and all."""
        self.drain()
        self.rows.remove(one)
        del self._slots[one]
        self._free += one.blocks
        one.blocks, self._changed = [], True

    def _remap(self) -> list[int] | None:
        """Row i reads slot remap[i]; what stands in the other slots goes behind."""
        wanted = [self._slots[one] for one in self.rows]
        remap = wanted + [slot for slot in range(MAX_BATCH) if slot not in wanted]
        self._slots = {one: row for row, one in enumerate(self.rows)}
        return None if remap == list(range(MAX_BATCH)) else remap

    def _histories(self) -> dict[str, torch.Tensor]:
        def table(lists: list[list[int]]) -> torch.Tensor:
            rows = [[*ids, *[-1] * (CONTEXT - len(ids))] for ids in lists]
            return torch.tensor(rows + [[-1] * CONTEXT] * (MAX_BATCH - len(rows)), dtype=torch.int32)

        return {
            "prompt_tokens": table([one.prompt for one in self.rows]),
            "output_tokens": table([one.answer for one in self.rows]),
        }

    def _table(self, group: Sequence[Asks], n_rows: int) -> torch.Tensor:
        table = torch.zeros(n_rows, OF_A_REQUEST, dtype=torch.int32)
        for row, one in enumerate(group):
            table[row, : len(one.blocks)] = torch.tensor(one.blocks)
        return table


def asked(group: Sequence[Asks], n_rows: int) -> SimpleNamespace:
    """As the plugin's TTSamplingParams are for a model that draws: lists, neutral in rows without a user."""
    empty = n_rows - len(group)
    return SimpleNamespace(
        temperature=[one.temperature for one in group] + [1.0] * empty,
        top_k=[one.top_k for one in group] + [CONFIG.vocab_size] * empty,
        top_p=[1.0] * n_rows,
        presence_penalty=[one.presence_penalty for one in group] + [0.0] * empty,
        frequency_penalty=[0.0] * n_rows,
        repetition_penalty=[1.0] * n_rows,
        seed=[one.seed for one in group] + [None] * empty,
        num_logprobs=[0 if one.logprobs else -2 for one in group] + [-2] * empty,
        enable_log_probs=[one.logprobs for one in group] + [False] * empty,
    )
