"""Every operation that the model calls, at its shapes, each against what is right for the inputs that it had."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import ttnn

import ttnn_cpu
from models.mixtral8x7b.config import MIXTRAL_8X7B, MixtralConfig
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.expected import expected, n_no_numbers
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import opened
from models.mixtral8x7b.first_light.placed import weights_of
from models.mixtral8x7b.first_light.random_models import SMALL, exact_model, random_ids
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.machine import Machine
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.mesh import SEMAPHORE_REGION_BYTES
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.prefill import ROUTED_FROM
from ttnn_cpu.witness.calls import RecordedCall, watching
from ttnn_cpu.witness.compare import difference

SHORT, LONG, START = 45, 250, 128  # tokens of two prompts; START of the long one are in the cache before
PASS_TOKENS = 256
_MATMULS = ("linear", "matmul", "sparse_matmul", "minimal_matmul", "rms_norm")
_JOINS = ("all_gather", "reduce_scatter")


def run(asked: Asked, notes: Notes) -> None:
    """One layer of random weights, so that every wrong operation is seen where it is."""
    config = replace(MIXTRAL_8X7B, n_layers=1, max_seq_len=4096) if asked.full_size else SMALL
    notes.doing("making random weights")
    model = exact_model(config)
    with opened(asked, notes) as mesh:
        judge = Judge(notes, asked.target, asked.chips, asked.machine)
        precision = preset(asked.precision, asked.machine)
        context = ROUTED_FROM if not asked.quick else PASS_TOKENS
        n_blocks = blocks_for(context) + 4 + DECODE_ROWS
        tt = Mixtral(weights_of(model, mesh), mesh, precision, n_blocks, context, max(PASS_TOKENS, context))
        run_programs(tt, config, context, judge.watch)
    notes.fact("different calls of operations", judge.n_calls)
    notes.fact("of these to the bit", judge.n_equal)
    notes.far(f"{judge.n_calls} calls, {judge.n_equal} of them to the bit; {judge.worst}")


def run_programs(
    tt: Mixtral, config: MixtralConfig, context: int, watch: Callable[[str], AbstractContextManager[None]]
) -> None:
    """A pass with a fresh prompt and one that goes on from the cache; one in which each expert has its own rows, where
    the context allows it; a decode step of 32 users."""
    ids = random_ids(config, context, seed=5).tolist()
    free = iter(range(tt.cache.n_blocks))
    short, long = [next(free)], [next(free) for _ in range(blocks_for(LONG + 1))]
    tt.sampler.set([GREEDY] * DECODE_ROWS)
    tt.prefill([Prompt(1, ids[:START], long)])
    with watch("prefill"):
        together = [Prompt(0, ids[:SHORT], short), Prompt(1, ids[:LONG], long, START)]
        tt.sampler.forward(tt.prefill(together), tt.state.tokens)
    if context >= ROUTED_FROM:
        whole = list(range(tt.cache.n_blocks))[-blocks_for(context) :]
        with watch("prefill, own rows"):
            tt.sampler.forward(tt.prefill([Prompt(2, ids, whole)]), tt.state.tokens)
    tt.state.set_rows(ids[:DECODE_ROWS], [SHORT, LONG] + [0] * (DECODE_ROWS - 2))
    tt.state.set_blocks([short, long, *([next(free)] for _ in range(DECODE_ROWS - 2))])
    with watch("decode"):
        tt.step()


@dataclass
class Judge:
    """Looks at each call as it is made, and stops at the first that is wrong."""

    notes: Notes
    target: str
    n_chips: int
    machine: Machine
    n_calls: int = 0
    n_equal: int = 0
    worst: str = "none is apart"
    _worst_rms: float = 0.0
    _mesh: Any = field(default=None)

    def watch(self, program: str) -> AbstractContextManager[None]:
        return watching(
            ttnn, frozenset(), program, set(), self._look_at, lambda name: self.notes.doing(*_named(name, program))
        )

    def _look_at(self, call: RecordedCall) -> None:
        self.n_calls += 1
        if self.target == "mock":
            return
        what, topic = _named(call.operation, call.program)
        what += f" {_shape(call)}"
        right = expected(call, self._cpu_mesh(), self.target, self.machine)
        n = sum(n_no_numbers(*pair) for pair in zip(call.results, right.results, strict=True))
        if n:
            raise Finding(Verdict.GARBAGE, f"{what}: {n} values are no numbers", topic)
        try:
            found = difference(right.results, list(call.results))
        except AssertionError as error:
            raise Finding(Verdict.WRONG, f"{what}: results of another form or mask {error}", topic) from error
        if not right.bound.holds(found):
            raise Finding(Verdict.WRONG, f"{what}: {found}; expected {right.bound}", topic)
        self.n_equal += found.equal == 1.0
        if found.rms > self._worst_rms:
            self._worst_rms = found.rms
            self.worst = f"furthest {what}, rms {found.rms:.2%} of {right.bound.rms:.2%}"

    def _cpu_mesh(self) -> Any:
        if self._mesh is None:
            ttnn_cpu.set_fabric_config(ttnn_cpu.FabricConfig.FABRIC_1D_RING)
            shape = ttnn_cpu.MeshShape(1, self.n_chips)
            self._mesh = ttnn_cpu.open_mesh_device(shape, l1_small_size=SEMAPHORE_REGION_BYTES)
        return self._mesh


def _named(operation: str, program: str) -> tuple[str, str | None]:
    """For people, and which fallbacks there are."""
    last = operation.rpartition(".")[2]
    topic = "joins" if last in _JOINS else "matmul" if last in _MATMULS else None
    if "scaled_dot_product_attention" in last:
        topic = "attention"
    return f"{operation} in {program}", topic


def _shape(call: RecordedCall) -> str:
    return " x ".join(str(list(x.shape)) for x in call.inputs[:2])
