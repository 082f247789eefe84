"""What a step or a prefill takes in all, as a range: operations, gaps, and the host's part."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from models.mixtral8x7b.cost.calls import Load
from models.mixtral8x7b.cost.host import DEVICE_LOOP_MS, GAP_US, LAUNCH_US, Range
from models.mixtral8x7b.cost.operation import Step
from models.mixtral8x7b.cost.recording import PrefillPass, Program


@dataclass(frozen=True)
class Prediction:
    """ms; roof: what the operations would take at the chip's peaks, without gaps and host."""

    steps: tuple[Step, ...]
    ms: Range

    @property
    def roof_ms(self) -> float:
        return sum(step.roof for step in self.steps) / 1e3

    @property
    def tokens_s_user(self) -> Range:
        """Of a decode step: its low is of the longest time."""
        return Range(1e3 / self.ms.high, 1e3 / self.ms.expected, 1e3 / self.ms.low)


def decode(program: Program, load: Load, users: int, context: int, host_ms: Range = DEVICE_LOOP_MS) -> Prediction:
    step = program.cost(replace(load, users=users, context=context))
    return of_step(step, host_ms)


def of_step(step: Step, host_ms: Range = DEVICE_LOOP_MS) -> Prediction:
    def ms(gap: float, host: float) -> float:
        return (step.us + gap * step.operations) / 1e3 + host

    return Prediction(
        (step,),
        Range(ms(GAP_US.low, host_ms.low), ms(GAP_US.expected, host_ms.expected), ms(GAP_US.high, host_ms.high)),
    )


def prefill(passes: Sequence[PrefillPass], load: Load) -> Prediction:
    """Until the host has the first token of every prompt of these passes."""
    return of_passes([one.program.cost(replace(load, pieces=one.pieces)) for one in passes])


def of_passes(steps: Sequence[Step], host_ms: Range = DEVICE_LOOP_MS) -> Prediction:
    """Passes one after the other; each takes the longer of its operations and of their launches."""

    def ms(gap: float, launch: float, host: float) -> float:
        return sum(max(step.us + gap * step.operations, launch * step.operations) for step in steps) / 1e3 + host

    return Prediction(
        tuple(steps),
        Range(
            ms(GAP_US.low, LAUNCH_US.low, host_ms.low),
            ms(GAP_US.expected, LAUNCH_US.expected, host_ms.expected),
            ms(GAP_US.high, LAUNCH_US.high, host_ms.high),
        ),
    )
