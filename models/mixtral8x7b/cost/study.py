"""What `./mixtral cost` tells: this project's programs at full size, and beside them Tenstorrent's own Mixtral."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.cost import prediction
from models.mixtral8x7b.cost.host import DEVICE_LOOP_MS, Range, host_sampling_ms
from models.mixtral8x7b.cost.operation import Step
from models.mixtral8x7b.cost.prediction import Prediction
from models.mixtral8x7b.cost.recording import PrefillPass, Program, Programs, recorder
from models.mixtral8x7b.cost.tt_transformers import MIXTRAL, Machine, decode_step, prefill_passes
from models.mixtral8x7b.paging import blocks_for

STEPS_RMS, FIRST_TOKENS_RMS = 0.17, 0.43  # of the residuals of all published models: docs/cost_model.md
ERRORS = (
    "ranges are over gaps, launches and the host alone; of published models the same laws miss steps by "
    f"{STEPS_RMS:.0%} and first tokens by {FIRST_TOKENS_RMS:.0%} (rms): docs/cost_model.md"
)
TOO_MANY = "; so much KV cache has no room on the chips"


@dataclass(frozen=True)
class Decoding:
    precision: str
    users: int
    context: int
    predicted: Prediction
    fits: bool  # so much KV cache beside the weights

    def line(self) -> str:
        rate, ms = self.predicted.tokens_s_user, self.predicted.ms
        return (
            f"modelled  {self.precision:<11}  batch {self.users:>2}  context {self.context:>5}  "
            f"{rate.expected:6.1f} tokens/s/user ({rate.low:.1f} to {rate.high:.1f})  "
            f"{ms.expected:6.1f} ms, roof {self.predicted.roof_ms:.1f} ms{'' if self.fits else TOO_MANY}"
        )


@dataclass(frozen=True)
class FirstTokens:
    """Of `users` prompts of `length` tokens, until all have their first token."""

    precision: str
    users: int
    length: int
    predicted: Prediction
    dense: Prediction  # were every expert run on every row

    def line(self) -> str:
        ms, dense = self.predicted.ms, self.dense.ms.expected
        return (
            f"modelled  {self.precision:<11}  batch {self.users:>2}  prompt  {self.length:>5}  "
            f"{ms.expected:8.0f} ms to the first token ({ms.low:.0f} to {ms.high:.0f})  "
            f"roof {self.predicted.roof_ms:.0f} ms, dense {dense:.0f} ms: {dense / ms.expected:.2f}x"
        )


class Study:
    """Of one precision; the decode step is recorded once."""

    def __init__(self, programs: Programs, precision: str) -> None:
        self._programs, self._precision = programs, precision
        self._load = programs.load()
        self._decode: Program | None = None

    def decoding(self, users: int, context: int) -> Decoding:
        self._decode = self._decode or self._programs.decode()
        predicted = prediction.decode(self._decode, self._load, users, context)
        room = self._programs.kv_tokens(self._precision, context)
        return Decoding(self._precision, users, context, predicted, users * context <= room)

    def first_tokens(self, users: int, length: int) -> FirstTokens:
        def passes(routed: bool) -> list[PrefillPass]:
            return self._programs.prefill([length] * users, routed)

        routed, dense = (prediction.prefill(passes(is_routed), self._load) for is_routed in (True, False))
        return FirstTokens(self._precision, users, length, routed, dense)


def studies(
    config: MixtralConfig, precisions: Sequence[str], n_chips: int, fabric: str, context: int, n_tokens: int
) -> Iterator[tuple[str, Study]]:
    """n_tokens of KV cache. Each study is used before the next is asked for."""
    for precision in precisions:
        with recorder(config, precision, n_chips, context, blocks_for(n_tokens), fabric) as programs:
            yield precision, Study(programs, precision)


def expected(config: MixtralConfig, precision: str, n_chips: int, users: int, context: int) -> str:
    """For people: a decode step of `users` at this context, the first token of a prompt as long, how sure that is."""
    with recorder(config, precision, n_chips, context) as programs:
        load = programs.load()
        step = prediction.decode(programs.decode(), load, users, context)
        first = prediction.prefill(programs.prefill([context]), load)
    rate, ms = step.tokens_s_user, first.ms
    return (
        f"modelled, not measured: {rate.expected:.1f} tokens/s/user ({rate.low:.1f} to {rate.high:.1f}) at batch "
        f"{users}, context {context}\n"
        f"modelled, not measured: {ms.expected:.0f} ms ({ms.low:.0f} to {ms.high:.0f}) to the first token of a prompt "
        f"of {context}\n{ERRORS}"
    )


# ---------------------------------------------------------------- beside Tenstorrent's


def their_step(users: int, context: int, chosen_on_chips: bool) -> Prediction:
    """A decode step of Tenstorrent's own Mixtral on a T3000, today's collectives."""
    host = host_sampling_ms(MIXTRAL.vocabulary)
    host_ms = DEVICE_LOOP_MS if chosen_on_chips else Range(host, host, host)
    return prediction.of_step(decode_step(MIXTRAL, Machine(8), users, context, chosen_on_chips), host_ms)


def their_first_tokens(users: int, length: int) -> Prediction:
    """Prompts one after the other."""
    return prediction.of_passes(users * prefill_passes(MIXTRAL, Machine(8), length))


def beside_decoding(ours: Decoding) -> str:
    ms = ours.predicted.ms.expected
    on_chips, on_host = (their_step(ours.users, ours.context, where).ms.expected for where in (True, False))
    return (
        f"modelled  {ours.precision:<11}  batch {ours.users:>2}  context {ours.context:>5}  "
        f"{on_chips / ms:.2f}x as fast as Tenstorrent's own ({on_chips:.1f} ms; "
        f"{on_host / ms:.2f}x where its host chooses tokens)"
    )


def beside_first_tokens(ours: FirstTokens) -> str:
    theirs, ms = their_first_tokens(ours.users, ours.length).ms, ours.predicted.ms
    return (
        f"modelled  {ours.precision:<11}  batch {ours.users:>2}  prompt  {ours.length:>5}  "
        f"{theirs.expected / ms.expected:.2f}x as fast as Tenstorrent's own ({theirs.expected:.0f} ms; "
        f"{theirs.low / ms.low:.2f}x were both traced)"
    )


# ---------------------------------------------------------------- by operation


def operation_table(step: Step, most: int = 1000) -> str:
    """The largest first; MB, GFLOP and us of all calls of an operation together."""
    head = (
        f"{'us':>9}  {'%':>5}  {'times':>5}  {'each':>8}  {'roof':>8}  {'limit':<5}  {'GFLOP':>9}  {'DRAM MB':>8}  "
        f"{'L1 MB':>7}  {'link MB':>7}  operation"
    )
    lines = [head]
    for entry in step.largest(most):
        cost, n = entry.cost, entry.count
        lines.append(
            f"{entry.us:9.1f}  {100 * entry.us / step.us:5.1f}  {n:5}  {cost.us:8.2f}  {cost.roof:8.2f}  "
            f"{cost.limit:<5}  {n * cost.flops / 1e9:9.2f}  {n * cost.dram / 1e6:8.1f}  {n * cost.l1 / 1e6:7.1f}  "
            f"{n * cost.link / 1e6:7.2f}  {cost.name} {cost.detail}"
        )
    lines.append(
        f"{step.us:9.1f}  {100:5.1f}  {step.operations:5}  {'':8}  {step.roof:8.0f}  {'':5}  {step.flops / 1e9:9.2f}  "
        f"{step.dram / 1e6:8.1f}  {step.l1 / 1e6:7.1f}  {step.link / 1e6:7.2f}  all, without gaps and host; roof of all"
    )
    bound = sorted(step.by_limit().items(), key=lambda item: -item[1])
    lines.append("bound by " + ", ".join(f"{limit} {100 * us / step.us:.0f} %" for limit, us in bound))
    return "\n".join(lines)


def causes(predicted: Prediction, most: int = 3) -> list[tuple[str, float]]:
    """What stands between the expected time and the roof: the largest differences by operation, ms."""
    found: dict[str, float] = {}
    for step in predicted.steps:
        for entry in step.entries:
            found[entry.cost.name] = found.get(entry.cost.name, 0.0) + (entry.us - entry.roof) / 1e3
    between = predicted.ms.expected - sum(step.us for step in predicted.steps) / 1e3
    found["gaps, launches and the host"] = between
    return sorted(found.items(), key=lambda item: -item[1])[:most]


def far_from_roof(predicted: Prediction) -> str:
    """One sentence."""
    largest = "; ".join(f"{ms:.1f} ms {what}" for what, ms in causes(predicted))
    return f"expected {predicted.ms.expected:.1f} ms, roof {predicted.roof_ms:.1f} ms; of the difference {largest}"
