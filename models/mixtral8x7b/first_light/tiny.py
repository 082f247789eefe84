"""The tiny model that comes along, decoded greedily: ids against the host's argmax, and alike on all chips."""

import time

import torch

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import on_every_chip, opened
from models.mixtral8x7b.first_light.verdicts import Finding, Verdict
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

STEPS, QUICK_STEPS = 64, 6
CONTEXT = 128
LEAST_PCC = 0.99  # of all logits with the float32 reference's, on the ids that the chips drew


def checkpoint() -> RepackedCheckpoint:
    return RepackedCheckpoint(tiny_checkpoint("instruct", Settings.from_environment().user_cache))


def eager(asked: Asked, notes: Notes) -> None:
    """Step by step, the host reading the logits in the middle of each."""
    repacked = checkpoint()
    checks = Checks(asked.target != "mock")
    with opened(asked, notes) as mesh:
        model = _model(repacked, mesh, asked)
        _start(model)
        ids, logits = _eager_steps(model, _steps(asked), checks, notes)
    if checks.compares:
        notes.doing("the same on the host, in float32")
        expected = Transformer.from_repacked(repacked.directory)(ids[:, :-1])
        checks.close(logits, expected, LEAST_PCC, "logits of the tiny model", "matmul")
    notes.far(f"{_steps(asked)} steps of {DECODE_ROWS} users; PCC of the logits {checks.worst_pcc:.5f}")


def traced(asked: Asked, notes: Notes) -> None:
    """First eagerly, then recorded and replayed: the same ids. Without a trace where this machine does without."""
    checks, steps = Checks(asked.target != "mock"), _steps(asked)
    with opened(asked, notes) as mesh:
        model = _model(checkpoint(), mesh, asked)
        _start(model)
        expected, _ = _eager_steps(model, steps, checks, notes)
        _start(model)
        is_traced = asked.machine.trace == "on"
        step = TracedStep(mesh, model.step) if is_traced else model.step
        took: list[float] = []
        for number in range(1, steps + 1):
            notes.doing(f"{'replayed' if is_traced else 'eager'} step {number} of {steps}", "trace")
            started = time.perf_counter()
            step()
            parts = [part.flatten().long() for part in on_every_chip(model.state.tokens)]
            took.append(time.perf_counter() - started)
            checks.alike(parts, f"ids of step {number}, replayed", "trace")
            checks.equal(parts[0], expected[:, number], f"ids of step {number}, replayed, beside eager ones", "trace")
        if isinstance(step, TracedStep):
            step.release()
    took.sort()
    notes.fact(f"ms of a step of the tiny model, {asked.chips} chips", f"{1e3 * took[len(took) // 2]:.2f}")
    notes.far(f"{steps} steps, ids as without a recording")


def _model(repacked: RepackedCheckpoint, mesh: Mesh, asked: Asked) -> Mixtral:
    precision = preset(asked.precision, asked.machine)
    return Mixtral(CheckpointWeights(repacked, mesh, None), mesh, precision, 2 * DECODE_ROWS, CONTEXT)


def _steps(asked: Asked) -> int:
    return QUICK_STEPS if asked.quick or asked.target != "device" else STEPS


def _start(model: Mixtral) -> None:
    """32 users, each with another first token, at position 0."""
    model.sampler.set([GREEDY] * DECODE_ROWS)
    model.state.set_rows([3 + row for row in range(DECODE_ROWS)], [0] * DECODE_ROWS)
    model.state.set_blocks([[2 * row, 2 * row + 1] for row in range(DECODE_ROWS)])


def _eager_steps(model: Mixtral, steps: int, checks: Checks, notes: Notes) -> tuple[torch.Tensor, torch.Tensor]:
    """All ids [32, 1 + steps], and the logits [32, steps, vocab] that they were drawn from."""
    ids = [torch.tensor(model.state.read_tokens())]
    logits: list[torch.Tensor] = []
    for number in range(1, steps + 1):
        notes.doing(f"eager step {number} of {steps}")
        model.step(take_logits=logits.append)
        what = f"ids of step {number}"
        checks.numbers(logits[-1], f"logits of step {number}")
        parts = [part.flatten().long() for part in on_every_chip(model.state.tokens)]
        checks.alike(parts, what)
        best = logits[-1].argmax(-1)
        if checks.compares and not torch.equal(parts[0], best):
            rows = (parts[0] != best).nonzero().flatten().tolist()
            raise Finding(
                Verdict.WRONG,
                f"{what}: in {len(rows)} of {DECODE_ROWS} rows the chips drew another id than the host's argmax of "
                f"their logits, the first in row {rows[0]}: {int(parts[0][rows[0]])}, expected {int(best[rows[0]])}",
            )
        places = [part.flatten().tolist() for part in on_every_chip(model.state.positions)]
        if checks.compares and any(place != [number] * DECODE_ROWS for place in places):
            raise Finding(Verdict.WRONG, f"positions after step {number} are not {number} on every chip and row")
        ids.append(parts[0])
    model.state.set_rows([0] * DECODE_ROWS, [NO_USER] * DECODE_ROWS)
    return torch.stack(ids, 1), torch.stack(logits, 1)
