"""The trained tiny checkpoint on one simulated chip. Each test states its seconds, kernels cached."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.generator import Generator
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE, PRESETS
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.sim.small import CONFIG, ROWS, model_of, prefill, prompts_of
from tests.sim.stories import Work, check_agreement, logits_on_cpu
from tests.teacher_forcing import router_margins
from tests.thresholds import BOUNDS, ROUTER_MARGIN
from tests.tt.cases import pcc, random_ids, reference

pytestmark = [pytest.mark.router_and_sampler, pytest.mark.timeout(0)]
POSITIONS = 8  # of 32 stories


@pytest.fixture(scope="module")
def model(repacked: Path, mesh: Mesh) -> Mixtral:
    return Mixtral(CheckpointWeights(RepackedCheckpoint(repacked), mesh, None), mesh, PERFORMANCE, 32, 256, 256)


@pytest.mark.parametrize("preset", PRESETS)
def test_stories(
    preset: str, mesh: Mesh, repacked: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """35 s: 32 stories x 8 positions, decoded, against the float32 reference and the CPU backend."""
    found = check_agreement(mesh, repacked, preset, Work("decode", POSITIONS), tmp_path, record_property)
    assert found.top_1 > BOUNDS[preset].top_1


def test_answers_are_right(model: Mixtral, repacked: Path, record_property: Callable[[str, object], None]) -> None:
    """160 s: prefill, the chips' own sampler, decode to the end of the answers."""
    tokenizer = Tokenizer(repacked)
    questions = {"What is the capital of Spain?": "Madrid", "What is the capital city of France?": "Paris"}
    prompts = [tokenizer.encode_chat([question]) for question in questions]
    columns = list(Generator(model, trace=False).generate(prompts, 20, stop_ids={tokenizer.eos_id}))
    answers = [
        tokenizer.decode([token for token in tokens if token is not None]).strip()
        for tokens in zip(*columns, strict=True)
    ]
    record_property("answers", " / ".join(answers))
    for answer, city in zip(answers, questions.values(), strict=True):
        assert answer.endswith(f" is {city}.")


@pytest.mark.parametrize("pass_tokens", [256, 512])
def test_prefill(
    pass_tokens: int, mesh: Mesh, repacked: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """300 s: prompts of 29 to 300 tokens in chunks and in one pass, and a decode step after them."""
    check_agreement(mesh, repacked, "performance", Work("prefill", pass_tokens), tmp_path, record_property)


def test_a_pass_is_what_chip_values_says(mesh: Mesh, repacked: Path, tmp_path: Path) -> None:
    """90 s: prompts of 47 and 100 tokens in one pass, and a decode step after them, the same bits."""
    work = Work("pass", 256)
    ours = work.logits(mesh, repacked, "performance")
    assert torch.equal(ours, logits_on_cpu(1, repacked, "performance", work, "chips", tmp_path))
    assert not torch.equal(ours, logits_on_cpu(1, repacked, "performance", work, "once", tmp_path))


def test_a_row_does_not_depend_on_its_neighbours(mesh: Mesh) -> None:
    """10 s: four rows of a small model alone and among 28 others, two steps, the same bits."""
    model = model_of(mesh, n_blocks=ROWS, context=64)
    ids = random_ids(CONFIG, ROWS, 2, seed=8).tolist()

    def steps(rows: list[int]) -> torch.Tensor:
        model.state.set_blocks([[row] for row in range(ROWS)])
        found = []
        for position in range(2):
            tokens = [ids[row][position] if row in rows else 0 for row in range(ROWS)]
            model.state.set_rows(tokens, [position if row in rows else NO_USER for row in range(ROWS)])
            found.append(model.read_logits(model.decode_logits())[rows])
        return torch.stack(found, 1)

    together = steps(list(range(ROWS)))
    for row in (0, 7, 16, 31):
        assert torch.equal(steps([row])[0], together[row])


def test_64_steps(mesh: Mesh, record_property: Callable[[str, object], None]) -> None:
    """25 s: 64 positions of a small model, so that every row fills its block and a tile is rewritten 32 times."""
    model = model_of(mesh, n_blocks=ROWS, context=64)
    ids = random_ids(CONFIG, ROWS, 64, seed=9)
    expected = reference(CONFIG)(ids)
    routed_alike = router_margins(reference(CONFIG), ids) > ROUTER_MARGIN
    model.state.set_blocks([[row] for row in range(ROWS)])
    worst = 1.0
    for position in range(64):
        model.state.set_rows(ids[:, position].tolist(), [position] * ROWS)
        ours, rows = model.read_logits(model.decode_logits()), routed_alike[:, position]
        worst = min(worst, pcc(ours[rows], expected[rows, position]))
    record_property("the worst step", f"PCC {worst:.5f}")
    assert worst > 0.999


def test_prefill_at_every_edge(mesh: Mesh, record_property: Callable[[str, object], None]) -> None:
    """200 s: a small model, lengths around tiles, blocks and passes, in passes of 256 and of 512, cut at their ends."""
    prompts = prompts_of([31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300])
    n_blocks = sum(len(prompt.blocks) for prompt in prompts)
    whole = reference(CONFIG)
    for pass_tokens in (256, 512):
        ours = prefill(model_of(mesh, n_blocks, context=320, pass_tokens=pass_tokens), prompts)
        compared = []
        for prompt in prompts:
            ids = torch.tensor([prompt.ids])
            if router_margins(whole, ids)[0, -1] > ROUTER_MARGIN:
                compared.append(pcc(ours[prompt.row], whole(ids)[0, -1]))
        record_property(f"passes of {pass_tokens}", f"{len(compared)} prompts, the worst PCC {min(compared):.5f}")
        assert len(compared) > 10
        assert min(compared) > 0.999
