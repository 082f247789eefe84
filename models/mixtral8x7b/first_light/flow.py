"""All steps, one after the other: what is left out, what is known already, what is tried in place of what fails."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.mixtral8x7b.first_light import runner
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.notes import CHIP_SECONDS
from models.mixtral8x7b.first_light.state import Failing, State
from models.mixtral8x7b.first_light.steps import FALLBACKS, STEPS, Change, Step
from models.mixtral8x7b.first_light.verdicts import RESET, Result, Verdict
from models.mixtral8x7b.machine import Machine
from models.mixtral8x7b.target import can_trace

# After these the chips may be in any state.
_NEEDS_RESET = (Verdict.HANG, Verdict.CRASH)
QUICK_S = 120  # with the chips open, after which --quick begins no further step


@dataclass(frozen=True)
class Options:
    target: str
    chips: int
    precision: str = "performance"
    quick: bool = False
    checkpoint: Path | None = None  # a repacked directory of real weights; None: there are none
    has_boards: bool = False  # that a hang leaves in need of a reset
    steps: Sequence[Step] = STEPS
    child: Sequence[str] = runner.CHILD


class FirstLight:
    """say: prints a line. go_on: asks whether the boards are reset and this comes next; False: not now."""

    def __init__(
        self, options: Options, state: State, folder: Path, say: Callable[[str], None], go_on: Callable[[str], bool]
    ) -> None:
        self._options, self._state, self._folder, self._say, self._go_on = options, state, folder, say, go_on
        self.results: dict[str, Result] = {}
        self.stopped_before: str | None = None
        self.chip_seconds = 0.0  # for which this run had the chips open, in steps that came to an end

    def run(self) -> None:
        """Fills `results`, in order. Raises OSError where the user's cache cannot be written."""
        for step in self._options.steps:
            if self.stopped_before is not None:
                return
            kept = self._state.results.get(step.name)
            left_out = self._left_out(step)
            if left_out:
                self.results[step.name] = Result(Verdict.LEFT_OUT, left_out)
            elif kept is not None and kept.verdict.is_good:
                self.results[step.name] = kept
                self._say(f"{step.name}: {kept.verdict.value}, known from before")
            else:
                self.results[step.name] = self._tried(step)

    @property
    def machine(self) -> Machine:
        """What works, as far as is known."""
        return self._state.machine

    # ---------------------------------------------------------------- one step

    def _left_out(self, step: Step) -> str:
        """Why; empty where it is to be run."""
        options = self._options
        if options.target not in step.targets:
            return f"means nothing on target {options.target}"
        if options.quick and not step.in_quick:
            return "not with --quick"
        if step.several and options.chips == 1:
            return "there is one chip"
        if step.traced and not can_trace(options.target):
            return f"target {options.target} records no steps"
        if step.weights and options.checkpoint is None:
            return "there are no weights; set MIXTRAL_CKPT_DIR to a repacked checkpoint"
        is_over = self.chip_seconds >= QUICK_S and options.target != "sim"  # whose seconds are not the chips'
        if options.quick and step.opens_chips and is_over:
            return f"the {QUICK_S} s of --quick are over, kernels being compiled in them; run it again"
        failed = self._failed_need(step)
        return f"needs {failed}, which is not right" if failed else ""

    def _failed_need(self, step: Step) -> str:
        """The name of a step that failed and that it needs, perhaps through others that were left out; or empty."""
        for need in self._options.steps:
            result = self.results.get(need.name) if need.name in step.needs else None
            if result is None or result.verdict.is_good:
                continue
            failed = self._failed_need(need) if result.verdict is Verdict.LEFT_OUT else need.name
            if failed:
                return failed
        return ""

    def _tried(self, step: Step) -> Result:
        """As it is; where that fails, with one fallback after the other. What helps holds from then on."""
        first: Result | None = None
        for change in self._changes(step):
            name = f"{step.name}, {_told(change)}" if change else step.name
            self._say(f"{name}: runs, at most {step.limit_s} s")
            before = self._state.machine
            machine = before.with_changes(change)
            result = runner.run(self._asked(step, machine), self._folder, step.limit_s, self._options.child)
            self.chip_seconds += float(result.facts.get(CHIP_SECONDS.format(step.name), 0))
            said = f": {result.said}" if result.said else ""
            self._say(f"{name}: {result.verdict.value} in {result.seconds:.1f} s{said}")
            if result.verdict.is_good:
                self._state.machine = machine
                self._state.failing.pop(step.name, None)
                result = dataclasses.replace(result, instead=machine.beside(before))
                self._state.results[step.name] = result
                self._state.write()
                return result
            first = first or result
            self._state.failing.setdefault(step.name, Failing(result.topic)).tried.append(change)
            self._state.write()
            if result.verdict is Verdict.FULL:
                self.stopped_before = name
                return result
            if result.verdict in _NEEDS_RESET and self._options.has_boards and step.opens_chips:
                self._say(f"the chips need a reset now: {RESET}")
                following = self._following(step)
                if following and not self._go_on(following):
                    self.stopped_before = following
                    return result
        if first is None:  # all fallbacks failed in earlier runs
            self._state.failing.pop(step.name)
            return self._tried(step)
        self._state.failing.pop(step.name, None)  # the next run begins anew
        self._state.write()
        return first

    def _changes(self, step: Step) -> Iterator[Change]:
        """What is not known to fail: the machine as it is, then what its failure's topic offers."""
        tried = self._state.failing[step.name].tried if step.name in self._state.failing else []
        if {} not in tried:
            yield {}
        failing = self._state.failing.get(step.name)
        for change in FALLBACKS.get((failing.topic if failing else None) or "", ()):
            if failing and change not in failing.tried and not self._has(change):
                yield change

    def _has(self, change: Change) -> bool:
        return self._state.machine.with_changes(change) == self._state.machine

    def _following(self, step: Step) -> str:
        """What comes after a failure, for people; empty: nothing."""
        for change in self._changes(step):
            return f"{step.name}, {_told(change)}"
        steps = list(self._options.steps)
        for later in steps[steps.index(step) + 1 :]:
            if not self._left_out(later):
                return later.name
        return ""

    def _asked(self, step: Step, machine: Machine) -> Asked:
        options = self._options
        facts = {name: value for result in self.results.values() for name, value in result.facts.items()}
        return Asked(
            step.name,
            step.function,
            step.target or options.target,
            step.chips or options.chips,
            machine,
            options.precision,
            options.quick,
            options.target == "device" and not options.quick,
            None if options.checkpoint is None else str(options.checkpoint),
            facts,
        )


def _told(change: Change) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in change.items())
