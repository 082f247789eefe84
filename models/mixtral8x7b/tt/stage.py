"""Some layers of Mixtral on a mesh of their own: one of several stages, each on another machine, that are one model.

first stage     ids -> embedding -> its layers -> residual, to the host
a later one     residual, from the host -> its layers -> residual, to the host
last stage      residual, from the host -> its layers -> norm, LM head -> logits, ids

Users come in groups of 32 rows. While one group's residual is in one stage, another's is in the next: each group has a
state, a KV cache and a recorded step of its own, and the weights are there once.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
import ttnn

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.engine.model import Row, Sizes
from models.mixtral8x7b.packing import Pass
from models.mixtral8x7b.tt.decode_state import DecodeState, table_width
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.embedding import Embedding
from models.mixtral8x7b.tt.engine_rows import set_rows
from models.mixtral8x7b.tt.head import Head
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, residual, vocabulary_columns
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import Mesh, Placement, check_split
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.prefill import PrefillInputs, all_positions
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.sampler import Sampler
from models.mixtral8x7b.tt.steps import DecodeStep
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.weights import MakePart, ReadTensor, Weights


@dataclass(frozen=True)
class Drawn:
    """What the last stage gives: an id of every row and, where a row reads them, their logits, float32 [32, vocab];
    of a pass also the logits of all positions of the rows that were asked for: row, position, [n, vocab]."""

    ids: list[int]
    logits: torch.Tensor | None
    of_prompts: list[tuple[int, int, torch.Tensor]]


Handed = torch.Tensor | Drawn  # bf16 [32, D] of a step, [T, D] of a pass; or what the last stage drew


class Stage:
    """Layers `layers` of a model of weights.config.n_layers, for n_groups groups of 32 rows.

    Each group has n_blocks KV blocks. Raises ConfigError, before anything is loaded, for layers that there are not, and
    for what does not fit: the plan counts embedding and head in every stage.
    """

    def __init__(
        self,
        weights: Weights,
        mesh: Mesh,
        precision: Precision,
        layers: range,
        n_groups: int,
        n_blocks: int,
        max_context: int,
        n_tokens: int | None = None,
        trace: bool = False,
    ) -> None:
        config = weights.config
        if not layers or layers.start < 0 or layers.stop > config.n_layers:
            raise ConfigError(
                f"a stage has layers {layers.start} to {layers.stop - 1}; expected some of 0 to {config.n_layers - 1}"
            )
        config.check_context(max_context)
        check_split(config, mesh.n_devices)
        own = _Layers(weights, layers)
        n_blocks = max(n_blocks, table_width(max_context))
        n_tokens = config.vocab_size if n_tokens is None else n_tokens
        planned = plan(own.config, precision, mesh.n_devices, n_groups * n_blocks, max_context, n_tokens=n_tokens)
        planned.check(n_groups * n_blocks)
        self.is_first, self.is_last = layers.start == 0, layers.stop == config.n_layers
        self._sizes = Sizes(n_blocks, max_context, config.vocab_size, planned.pass_tokens)
        self._max_context, self._n_tokens = max_context, n_tokens
        self._config, self._mesh, self._precision = config, mesh, precision
        self._residual = residual(config.dim)
        self._rope = Rope(config, mesh)
        self._embedding = Embedding(weights, mesh) if self.is_first else None
        self._layers = [DecoderBlock(own, mesh, precision, layer) for layer in range(len(layers))]
        self._head = Head(weights, mesh, precision) if self.is_last else None
        self._groups = [_Group(own.config, mesh, precision, n_blocks, max_context, n_tokens) for _ in range(n_groups)]
        if trace:
            for group in self._groups:
                group.traced = TracedStep(mesh, partial(self._run_step, group))

    # ---------------------------------------------------------------- what a group does

    def sizes(self) -> Sizes:
        """Of a group."""
        return self._sizes

    def set_rows(self, group: int, rows: Sequence[Row | None]) -> None:
        """What the group's 32 rows do from now on, as `engine.model` has it."""
        self._groups[group].set_rows(rows)

    def prefill(self, group: int, of: Pass, handed: torch.Tensor | None, asked: Collection[int]) -> Handed:
        """One pass. `handed` is what the stage before gave, None for the first; `asked` are the rows whose logits of
        all positions are wanted, of the last stage only."""
        for each in self._groups:
            each.release()  # a pass may build programs
        own = self._groups[group]
        inputs = PrefillInputs(of, self._config, self._mesh, self._precision, self._rope, self._max_context)
        if self._embedding:
            x_TD = self._embedding.forward_prefill(inputs.ids)
        else:
            assert handed is not None
            x_TD = self._mesh.put(handed[None, None], ttnn.bfloat16, ttnn.TILE_LAYOUT, Placement.SPLIT_ROWS)
        for layer in self._layers:
            x_TD = layer.forward_prefill(x_TD, own.cache, inputs.layout)
        gives = self._drawn_of_pass(own, x_TD, of, inputs, asked) if self._head else self._mesh.read_rows(x_TD)[0, 0]
        ttnn.deallocate(x_TD)
        inputs.deallocate()
        return gives

    def step(self, group: int, handed: Sequence[int] | torch.Tensor) -> Handed:
        """One decode step of all rows of the group: of the ids of each row in the first stage, of what the stage before
        gave in others."""
        own = self._groups[group]
        if isinstance(handed, torch.Tensor):
            self._mesh.update(own.residual, handed[None, None])
        else:
            own.state.set_tokens(list(handed))
        if own.reads_logits:
            own.logits = None
            self._run_step(own, keeps_logits=True)
        elif own.traced:
            own.traced()
        else:
            self._run_step(own)
        if self._head is None:
            return self._mesh.read_replicated(own.residual)[0, 0]
        return Drawn(own.state.read_tokens(), own.logits if own.reads_logits else None, [])

    # ---------------------------------------------------------------- its parts

    def _run_step(self, group: "_Group", keeps_logits: bool = False) -> None:
        rotation = self._rope.for_decode(group.state.rope_positions)
        step = DecodeStep(rotation, group.state.positions, group.state.page_table)
        if self._embedding:
            x_BD = self._embedding.forward_decode(group.state.tokens)
        else:
            x_BD = ttnn.to_memory_config(group.residual, self._residual)
        for layer in self._layers:
            x_BD = layer.forward_decode(x_BD, group.cache, step)
        rotation.deallocate()
        if self._head is None:
            ttnn.copy(x_BD, group.residual)
            ttnn.deallocate(x_BD)
        else:
            logits = self._head.forward(x_BD)
            if keeps_logits:
                group.logits = self._copied(logits)
            group.sampler.forward(logits, group.state.tokens)
            group.sampler.advance()
        group.state.advance()

    def _drawn_of_pass(
        self, group: "_Group", x_TD: ttnn.Tensor, of: Pass, inputs: PrefillInputs, asked: Collection[int]
    ) -> Drawn:
        assert self._head
        of_prompts = []
        for piece in (piece for piece in of.pieces if piece.prompt.row in asked):
            for start, n_rows, select in all_positions(piece, of.size, self._mesh):
                logits = self._head.forward(self._head.rows(x_TD, select))
                ttnn.deallocate(select)
                of_prompts.append((piece.prompt.row, start, self._copied(logits)[:n_rows]))
                ttnn.deallocate(logits)
        logits = self._head.forward(self._head.rows(x_TD, inputs.select_last))
        kept = self._copied(logits) if group.reads_logits else None
        return Drawn(group.sampler.draw(logits), kept, of_prompts)

    def _copied(self, logits: ttnn.Tensor) -> torch.Tensor:
        """Of the ids that the tokenizer has, float32 [32, n_tokens]."""
        assert self._head
        return self._head.copy_logits(logits)[:, : self._n_tokens]


class _Group:
    """What 32 rows have of their own in a stage. `residual`, bf16 [1, 1, 32, D] in DRAM, is what a step is given and,
    but in the last stage, what it gives."""

    def __init__(
        self, config: MixtralConfig, mesh: Mesh, precision: Precision, n_blocks: int, max_context: int, n_tokens: int
    ) -> None:
        nothing = torch.zeros(1, 1, DECODE_ROWS, config.dim)
        self.residual = mesh.put(nothing, ttnn.bfloat16, ttnn.TILE_LAYOUT)
        self.state = DecodeState(mesh, max_context)
        self.cache = KVCache(config, mesh, n_blocks, precision.kv_cache)
        columns = mesh.n_devices * vocabulary_columns(config.vocab_size, mesh.n_devices)
        self.sampler = Sampler(columns, mesh, n_tokens)
        self.traced: TracedStep | None = None
        self.reads_logits = False
        self.logits: torch.Tensor | None = None

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        set_rows(rows, self.state, self.sampler)
        self.reads_logits = any(row.reads_logits for row in rows if row)

    def release(self) -> None:
        if self.traced:
            self.traced.release()


class _Layers:
    """Weights of a model that has only these layers, under the names that they have in the whole."""

    def __init__(self, weights: Weights, layers: range) -> None:
        self.config = replace(weights.config, n_layers=len(layers))
        self._weights, self._first = weights, layers.start

    def load(
        self, name: str, shape: tuple[int, int, int, int], make: MakePart, *how: Any, **placed: Any
    ) -> ttnn.Tensor:
        def make_of_whole(read: ReadTensor, chip: int) -> torch.Tensor:
            return make(lambda asked: read(self._in_whole(asked)), chip)

        return self._weights.load(self._in_whole(name), shape, make_of_whole, *how, **placed)

    def _in_whole(self, name: str) -> str:
        """layers.0.attention.wo -> layers.16.attention.wo, in a stage whose first layer is the 16th."""
        layers, layer, rest = name.split(".", 2)
        return f"{layers}.{int(layer) + self._first}.{rest}"
