"""What the model asks of ttnn at full size and at the tiny checkpoints' size: the calls, recorded.

.venv/bin/python -m tests.mock.program cpu FILE      # or mock; writes {"sections": .., "usages": ..} as JSON
"""

import json
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from models.mixtral8x7b.config import MIXTRAL_8X7B, MixtralConfig, MoeConfig
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.target import use_target

TWO_LAYERS = replace(MIXTRAL_8X7B, n_layers=2)
TINY = MixtralConfig(256, 3, 32, 128, 16, 8, 1e-5, 1024, MoeConfig(8, 2))
MIXTRAL_8X22B = MixtralConfig(6144, 56, 128, 16384, 48, 8, 1e-5, 32768, MoeConfig(8, 2), max_seq_len=65536)
ROWS = 32
PRESETS = ("performance", "accuracy")  # everything is run; of the others, which differ in the experts, what shows that
SCORED = (40, 70)  # tokens of the prompts whose every logit is asked for


@dataclass(frozen=True)
class Section:
    config: MixtralConfig
    preset: str
    n_users: int
    context: int
    prefills: tuple[tuple[int, ...], ...]  # the prompts' lengths of every call of prefill
    n_devices: int = 8

    @property
    def n_blocks(self) -> int:
        return self.n_users * blocks_for(self.context)


_PREFILLS = ((100,), (1000,), (2000,), (4096,), (8192,), (16384,), (20000,), (32768,), (50, 51, 52, 53, 54))
SECTIONS = {
    **{f"full size, 2 layers, {preset}": Section(TWO_LAYERS, preset, 32, 32768, _PREFILLS) for preset in PRESETS},
    **{
        f"full size, 32 layers, {preset}": Section(MIXTRAL_8X7B, preset, 18, 32768, ((128,), (20000,)))
        for preset in PRESETS
    },
    **{
        f"full size, 2 layers, {preset}": Section(TWO_LAYERS, preset, 32, 32768, ((100,), (2000,)))
        for preset in ("mixed", "bfp4")
    },
    **{f"tiny, {preset}": Section(TINY, preset, 32, 32768, _PREFILLS) for preset in PRESETS},
    "8x22B, 2 layers, 32002 tokens, performance": Section(
        replace(MIXTRAL_8X22B, n_layers=2, vocab_size=32002), "performance", 4, 32768, ((100,), (20000,))
    ),
    "4 experts, 57000 tokens, on one chip, accuracy": Section(
        replace(TINY, moe=MoeConfig(4, 3), vocab_size=57000), "accuracy", 32, 1024, ((100,), (1000,)), n_devices=1
    ),
    "full width, 1 layer, on one chip, performance": Section(
        replace(MIXTRAL_8X7B, n_layers=1), "performance", 32, 1024, ((100,), (1000,)), n_devices=1
    ),
    "tiny on one chip, performance": Section(TINY, "performance", 32, 32768, _PREFILLS, n_devices=1),
}


def build(section: Section, mesh: Any, notes_experts: bool = False) -> Any:
    """The model with weights that are allocated and never written."""
    from models.mixtral8x7b.tt.model import Mixtral
    from models.mixtral8x7b.tt.precision import preset
    from models.mixtral8x7b.tt.weights import EmptyWeights

    weights = EmptyWeights(section.config, mesh)
    precision, n_blocks = preset(section.preset), section.n_blocks
    return Mixtral(weights, mesh, precision, n_blocks, section.context, notes_experts=notes_experts)


def set_rows(model: Any, section: Section, occupancy: int, position: int = 5) -> None:
    """The first rows decode next, one user each; the others are unused."""
    from models.mixtral8x7b.tt.decode_state import NO_USER

    per_user = blocks_for(section.context)
    used = [list(range(row * per_user, (row + 1) * per_user)) for row in range(min(occupancy, section.n_users))]
    model.sampler.set([GREEDY] * ROWS)
    model.state.set_rows([1] * ROWS, [position] * occupancy + [NO_USER] * (ROWS - occupancy))
    model.state.set_blocks(used + [[]] * (ROWS - len(used)))


def prompts(lengths: tuple[int, ...]) -> list[Prompt]:
    """One prompt of each length, with blocks of its own."""
    given: list[Prompt] = []
    first = 0
    for row, length in enumerate(lengths):
        given.append(Prompt(row, [1] * length, list(range(first, first + blocks_for(length)))))
        first += blocks_for(length)
    return given


def recorded(ttnn: ModuleType, mesh: Any, section: Section) -> Any:
    """The calls of building the model, of a decode step of all rows and of one that notes the chosen experts, of every
    prefill, and of one with the logits of all positions."""
    from ttnn_cpu import record

    with record(ttnn) as calls:
        model = build(section, mesh, notes_experts=True)
        set_rows(model, section, ROWS)
        model.step()
        model.step(model.choices)
        model.choices.read()
        for lengths in section.prefills:
            model.sampler.forward(model.prefill(prompts(lengths)), model.state.tokens)
        (one,) = model.passes(prompts(SCORED))
        ttnn.deallocate(model.prefill_pass(one, lambda *_: None))
    return calls


def all_recorded(ttnn: ModuleType) -> dict[str, dict[str, Any]]:
    from models.mixtral8x7b.tt.mesh import open_mesh

    found = {}
    for n_devices in sorted({section.n_devices for section in SECTIONS.values()}):
        with open_mesh(n_devices) as mesh:
            for name, section in SECTIONS.items():
                if section.n_devices == n_devices:
                    found[name] = as_json(recorded(ttnn, mesh, section))
    return found


def as_json(calls: Any) -> dict[str, Any]:
    return {
        "names": [call.name for call in calls],
        "lines": calls.lines(),
        "host_writes": calls.host_writes,
        "host_reads": calls.host_reads,
    }


def distinct_calls(sections: dict[str, dict[str, Any]]) -> dict[str, int]:
    """How many different lines each operation has."""
    lines = {(n, line) for s in sections.values() for n, line in zip(s["names"], s["lines"], strict=True)}
    names = sorted({name for name, _ in lines})
    return {name: sum(n == name for n, _ in lines) for name in names}


def main() -> None:
    target, file = sys.argv[1:]
    use_target(target)
    import ttnn

    import ttnn_cpu
    from models.mixtral8x7b.tt.mesh import open_mesh

    with ttnn_cpu.specs_only() if target == "cpu" else nullcontext():
        found: dict[str, Any] = {"sections": all_recorded(ttnn)}
    if target == "mock":
        from tests.mock.chip_usage import usages

        with open_mesh(8) as mesh:
            found["usages"] = [asdict(usage) for usage in usages(ttnn, mesh)]
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
