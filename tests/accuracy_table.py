"""docs/precision.md's tables of the presets' accuracy: the trained tiny checkpoint whole, and single matmuls of
Mixtral's size.

.venv/bin/python -m tests.accuracy_table      # prints both; about two minutes on two cores
"""

import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path

from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import T3000_CHIPS, use_target

if __name__ == "__main__":
    use_target("cpu")

from demo.run import DemoOptions, DemoResult, run_demo
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.precision import PRESETS, Precision
from tests import full_width
from tests.trained import ALL_MODULES, N_LAYERS, RUNS, Trained, Whole


@dataclass(frozen=True)
class Column:
    """What one preset reaches."""

    worst: dict[str, float]  # PCC, by kind of module
    stories: Whole
    answers: Whole
    demo: DemoResult


def measured(trained: Trained, mesh: Mesh, precision: Precision) -> Column:
    worst: dict[str, float] = {}

    def take(kind: str, found: float) -> None:
        worst[kind] = min(found, worst.get(kind, 1.0))

    for layer in range(N_LAYERS):
        for run in RUNS:
            for name, found in trained.modules(mesh, precision, layer, run, ALL_MODULES):
                take(name.rpartition(".")[2], found)
        for _, found in trained.experts(mesh, precision, layer):
            take("expert", found)
    take("lm_head", trained.lm_head(mesh, precision))
    stories, answers = (trained.whole(mesh, precision, text) for text in ("stories", "answers"))
    return Column(worst, stories, answers, _demo(trained, mesh, precision))


def _demo(trained: Trained, mesh: Mesh, precision: Precision) -> DemoResult:
    with redirect_stdout(io.StringIO()):
        settings = replace(
            Settings.from_environment(),
            checkpoint=trained.repacked,
            weight_cache=trained.repacked.parent,
            tokenizer=None,
        )
        return run_demo(DemoOptions(is_instruct=True, precision=precision.name), settings, mesh, "cpu")


_ROWS: tuple[tuple[str, Callable[[Column], str]], ...] = (
    ("worst PCC of attention", lambda c: f"{c.worst['attention']:.5f}"),
    ("of an expert", lambda c: f"{c.worst['expert']:.5f}"),
    ("of a mixture of experts", lambda c: f"{c.worst['moe']:.5f}"),
    ("of a layer", lambda c: f"{c.worst['decoder']:.5f}"),
    ("of the LM head", lambda c: f"{c.worst['lm_head']:.5f}"),
    ("stories: PCC of the logits", lambda c: f"{c.stories.agreement.pcc:.5f}"),
    ("top-1 where the reference is decided", lambda c: f"{c.stories.agreement.top_1_decided:.4f}"),
    ("top-1 everywhere", lambda c: f"{c.stories.agreement.top_1:.4f}"),
    ("top-5", lambda c: f"{c.stories.agreement.top_5:.4f}"),
    ("KL, nats", lambda c: f"{c.stories.agreement.kl:.5f}"),
    ("perplexity", lambda c: f"{c.stories.perplexity:.4f}"),
    ("answers: PCC of the logits", lambda c: f"{c.answers.agreement.pcc:.5f}"),
    ("top-1 everywhere", lambda c: f"{c.answers.agreement.top_1:.4f}"),
    ("KL, nats", lambda c: f"{c.answers.agreement.kl:.5f}"),
    ("perplexity", lambda c: f"{c.answers.perplexity:.4f}"),
    ("demo questions answered exactly right", lambda c: f"{c.demo.n_right} of {c.demo.n_known}"),
)


def table(columns: dict[str, Column]) -> str:
    lines = [f"| tiny checkpoint | {' | '.join(columns)} |", "|" + "---|" * (1 + len(columns))]
    lines += [f"| {name} | {' | '.join(map(cell, columns.values()))} |" for name, cell in _ROWS]
    stories, answers = next((column.stories, column.answers) for column in columns.values())
    lines += [
        "",
        f"{stories.agreement.positions} positions of stories and {answers.agreement.positions} of answers; the "
        f"reference's perplexity there: {stories.of_reference:.4f} and {answers.of_reference:.4f}.",
    ]
    return "\n".join(lines)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, open_mesh(T3000_CHIPS) as mesh:
        trained = Trained(Path(folder))
        print(table({name: measured(trained, mesh, precision) for name, precision in PRESETS.items()}))
    print()
    print(full_width.table())


if __name__ == "__main__":
    main()
