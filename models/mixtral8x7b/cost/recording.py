"""Records the calls of this project's own programs at full size, on tensors without storage. The CPU target.

    with recorder(config, "performance", 8, context=32768) as programs:
        programs.decode()            # a step of 32 rows
        programs.prefill([128] * 32) # each pass with the pieces that it holds

Layers are alike: programs of one and of two layers are recorded, and what the second adds is taken once for each more.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import ttnn_cpu
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.cost.calls import FULLEST, Load, RecordedCall, costs_of
from models.mixtral8x7b.cost.operation import Step
from models.mixtral8x7b.packing import LARGEST_PASS, Pass, attended_rows
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt import prefill as prefill_program
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.weights import EmptyWeights


@dataclass(frozen=True)
class Program:
    """Distinct calls of a whole step and how often each is made."""

    calls: tuple[tuple[RecordedCall, int], ...]

    def cost(self, load: Load) -> Step:
        """Raises CostError for a call without a law."""
        return Step.of((cost, count) for call, count in self.calls for cost in costs_of(call, load))


@dataclass(frozen=True)
class PrefillPass:
    program: Program
    size: int  # rows, with padding
    pieces: tuple[tuple[int, int], ...]  # rows of each, and the positions before them


class Programs:
    """Of one model on one mesh."""

    def __init__(self, one: Mixtral, two: Mixtral, n_layers: int, fabric: str) -> None:
        self._models, self._n_layers, self._fabric = (one, two), n_layers, fabric
        self.config = replace(one.config, n_layers=n_layers)
        self._passes: dict[tuple[int, tuple[int, ...], bool], Program] = {}  # by what shapes a pass's calls

    def load(self) -> Load:
        """What the records do not say, but for users, contexts and pieces."""
        moe, n_chips = self.config.moe, self._models[0].mesh.n_devices
        share = min(1.0, FULLEST * moe.num_experts_per_tok / moe.num_experts)
        return Load(n_chips, self._fabric, share=share)

    def kv_tokens(self, precision: str, context: int) -> int:
        """For how many there is room on a chip, beside all layers."""
        n_chips, n_blocks = self._models[0].mesh.n_devices, LARGEST_PASS // KV_BLOCK
        return plan(self.config, preset(precision), n_chips, n_blocks, context).kv_tokens

    def decode(self) -> Program:
        return self._recorded(lambda model: model.step())

    def prefill(self, lengths: Sequence[int], routed: bool = True) -> list[PrefillPass]:
        """The passes of prompts of these lengths, 32 at most; not routed: every expert runs on every row."""
        first, prompts = 0, []
        for row, length in enumerate(lengths):
            prompts.append(Prompt(row, [1] * length, list(range(first, first + blocks_for(length)))))
            first += blocks_for(length)
        with _routed_from(prefill_program.ROUTED_FROM if routed else LARGEST_PASS + 1):
            return [self.prefill_pass(of, routed) for of in self._models[0].passes(prompts)]

    def prefill_pass(self, of: Pass, routed: bool = True) -> PrefillPass:
        """One pass of anybody's; not routed: as the program would be if every expert ran on every row of it."""
        pieces = tuple((piece.end - piece.start, piece.start) for piece in of.pieces)
        key = (of.size, tuple(attended_rows(piece.rows) for piece in of.pieces if piece.start), routed)

        def run(model: Mixtral) -> None:
            model.sampler.forward(model.prefill_pass(of), model.state.tokens)

        if key not in self._passes:
            self._passes[key] = self._recorded(run)
        return PrefillPass(self._passes[key], of.size, pieces)

    def _recorded(self, run: Callable[[Mixtral], None]) -> Program:
        counts: list[Counter[RecordedCall]] = []
        for model in self._models:
            with ttnn_cpu.record(ttnn_cpu) as calls:
                run(model)
            counts.append(Counter(calls))
        one, two = counts
        more = self._n_layers - 1
        whole = {call: one[call] + more * (two[call] - one[call]) for call in two}
        return Program(tuple((call, count) for call, count in whole.items() if count))


@contextmanager
def recorder(
    config: MixtralConfig, precision: str, n_chips: int, context: int, n_blocks: int = 0, fabric: str = "ring"
) -> Iterator[Programs]:
    """n_blocks of KV cache (0: what one user's context needs); the target must be cpu. Raises ConfigError."""
    n_blocks = n_blocks or blocks_for(context)
    with ttnn_cpu.specs_only(), open_mesh(n_chips, fabric) as mesh:

        def model(n_layers: int) -> Mixtral:
            weights = EmptyWeights(replace(config, n_layers=n_layers), mesh)
            built = Mixtral(weights, mesh, preset(precision), n_blocks, context)
            built.sampler.set([GREEDY] * DECODE_ROWS)
            built.state.set_rows([1] * DECODE_ROWS, [0] * DECODE_ROWS)
            return built

        yield Programs(model(1), model(2), config.n_layers, fabric)


@contextmanager
def _routed_from(rows: int) -> Iterator[None]:
    """The program as it would be if it routed passes from this many rows on."""
    usual = prefill_program.ROUTED_FROM
    prefill_program.ROUTED_FROM = rows
    try:
        yield
    finally:
        prefill_program.ROUTED_FROM = usual
