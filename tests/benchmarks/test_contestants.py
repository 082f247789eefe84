"""What `make bench` measures are the same answers: the CPU target, the reference and transformers in float32 agree."""

from collections.abc import Iterator

import pytest
import torch

from benchmarks.contestants import CpuTarget, HuggingFace, Reference
from benchmarks.growth import drawn
from benchmarks.real_time import Contestant, row
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.reference.model import Transformer

CONTEXT = 70


@pytest.fixture(scope="module")
def contestants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Contestant]]:
    checkpoint = tiny_checkpoint("base", tmp_path_factory.mktemp("tiny"))
    model = Transformer.from_repacked(checkpoint)
    with CpuTarget.opened(RepackedCheckpoint(checkpoint), 256, CONTEXT + 64) as ours:
        yield [ours, Reference(model), HuggingFace(model, torch.float32)]


def test_steps_give_the_same_tokens(contestants: list[Contestant]) -> None:
    """Of random prompts, where much is undecided: rounding may turn a token of the first, and what follows it."""
    tokens = []
    for one in contestants:
        one.start(5, CONTEXT)
        tokens.append([one.step() for _ in range(3)])
    ours, reference, transformers = tokens
    assert reference == transformers
    assert all(len(of_step) == 5 for of_step in ours)
    agreeing = (torch.tensor(ours) == torch.tensor(reference)).sum()
    assert agreeing >= 12, (ours, reference)


def test_prompts_give_the_same_token(contestants: list[Contestant]) -> None:
    ids = [3 + 7 * place % 900 for place in range(99)]
    assert len({one.prefill(ids) for one in contestants}) == 1


def test_a_row_of_the_table(contestants: list[Contestant], capsys: pytest.CaptureFixture[str]) -> None:
    runs = [one.step for one in contestants] + [contestants[2].step]
    for one in contestants:
        one.start(2, CONTEXT)
    row("decode, batch 2", 2, runs, calls=1)
    name, *figures, ratio = [cell.strip() for cell in capsys.readouterr().out.strip(" |\n").split("|")]
    assert name == "decode, batch 2"
    assert len(figures) == 4
    middle, slow, _, fast = figures[0].replace("(", "").replace(")", "").replace(",", "").split()
    assert 0 < float(slow) <= float(middle) <= float(fast)
    assert float(ratio) > 0


def test_the_picture_of_growth() -> None:
    picture = drawn("today", {"steps": [(1, 0.5), (2, 1.0), (4, 2.0)], "prompts": [(128, 1.0), (256, 1.0)]})
    assert picture.count("<circle") == 5
    assert picture.count("<polyline") == 2
    assert ">500<" in picture
    assert ">today<" in picture
