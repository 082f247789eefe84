"""How close the ttnn model comes to the reference with rounding on, on trained weights. Prints what it measures:

    .venv/bin/python -m pytest tests/test_accuracy.py -s

All of it on the CPU backend: an upper bound of what chips reach.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import ttnn

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.lm_head import LMHead
from models.mixtral8x7b.tt.mesh import Mesh, open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PRESETS, Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests import tiny_texts
from tests.teacher_forcing import agreement, teacher_forced
from tests.thresholds import LOGITS_PCC, MODULE_PCC, TOP_1, TOP_5
from tests.tt.cases import pcc, run_decode, run_prefill
from tests.tt.modules import modules

N_LAYERS = 3


@pytest.fixture(scope="module")
def repacked(tmp_path_factory) -> Path:
    return tiny_checkpoint("instruct", tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def reference(repacked: Path) -> Transformer:
    return Transformer.from_repacked(repacked)


@pytest.fixture(scope="module")
def seen(reference: Transformer, repacked: Path) -> dict[str, torch.Tensor]:
    """Every intermediate result of the reference on 32 stories x 64 positions."""
    values: dict[str, torch.Tensor] = {}
    rows = tiny_texts.stories(Tokenizer(repacked)).rows
    values["logits"] = reference(torch.tensor(rows)[:, :64], observe=values.__setitem__)
    for layer in range(N_LAYERS):
        values[f"layers.{layer}.input"] = values[f"layers.{layer - 1}.output" if layer else "embedding"]
    return values


@pytest.fixture(scope="module", params=PRESETS.values(), ids=PRESETS)
def precision(request) -> Precision:
    return request.param


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with open_mesh(8) as opened:
        yield opened


@pytest.fixture
def weights(repacked: Path, mesh: Mesh) -> CheckpointWeights:
    return CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)


def check(name: str, precision: Precision, ours: torch.Tensor, theirs: torch.Tensor) -> None:
    measured = pcc(ours, theirs)
    print(f"\nPCC {measured:.6f}  {precision.name:11}  {name}", end="")
    assert measured >= MODULE_PCC


# ---------------------------------------------------------------- module by module, on the reference's own inputs


@pytest.mark.parametrize("layer", range(N_LAYERS))
@pytest.mark.parametrize("run", [run_decode, run_prefill])
def test_modules(layer: int, run: Callable, seen, weights, mesh: Mesh, precision: Precision) -> None:
    is_decode = run is run_decode
    for module in modules(weights, mesh, precision, layer, 64, is_decode):
        ours = run(mesh, module.forward, seen[module.given])
        check(f"{module.name} {'decode' if is_decode else 'prefill'}", precision, ours, seen[module.expected])


@pytest.mark.parametrize("layer", range(N_LAYERS))
def test_every_expert(layer: int, seen, weights, reference, mesh: Mesh, precision: Precision) -> None:
    x = seen[f"layers.{layer}.ffn_norm"].flatten(0, 1)
    expert = Expert(weights, mesh, precision, layer, slot=0)
    out = expert.forward_prefill(mesh.put(x[None, None], ttnn.bfloat8_b, ttnn.TILE_LAYOUT))
    for chip, part in enumerate(ttnn.get_device_tensors(out)):
        theirs = reference.layers[layer].feed_forward.experts[chip](x)
        check(f"layers.{layer} expert {chip}", precision, ttnn.to_torch(part)[0, 0].float(), theirs)


def test_lm_head(seen, weights, mesh: Mesh, precision: Precision) -> None:
    head = LMHead(weights, mesh, precision)

    def whole(x: ttnn.Tensor) -> ttnn.Tensor:
        return mesh.gather_columns(head.forward(x), ttnn.L1_MEMORY_CONFIG)

    check("lm_head", precision, run_decode(mesh, whole, seen["norm"]), seen["logits"])


# ---------------------------------------------------------------- the whole model, teacher forced


@pytest.mark.parametrize("text", ["answers", "stories"])
def test_logits(text: str, repacked: Path, reference: Transformer, weights, mesh: Mesh, precision: Precision) -> None:
    texts = getattr(tiny_texts, text)(Tokenizer(repacked))
    theirs = texts.counted(reference(texts.padded()))
    ours = texts.counted(teacher_forced(Mixtral(weights, mesh, precision, 64, 128), texts))
    found = agreement(ours, theirs)
    print(f"\n{text}, {precision.name}: {found}", end="")
    assert found.pcc >= LOGITS_PCC[text]
    assert found.top_1_decided >= TOP_1[text]
    assert found.top_5 >= TOP_5[text]
