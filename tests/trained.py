"""The trained tiny instruct checkpoint, module by module and whole, beside the float32 reference."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import ttnn

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.expert import Expert
from models.mixtral8x7b.tt.lm_head import LMHead
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests import tiny_texts
from tests.teacher_forcing import Agreement, agreement, perplexity, teacher_forced
from tests.tt.cases import pcc, run_decode, run_prefill
from tests.tt.modules import modules

N_LAYERS, N_POSITIONS = 3, 64
Named = Iterator[tuple[str, float]]  # what, and its PCC


@dataclass(frozen=True)
class Whole:
    """The logits with the reference's, and both perplexities."""

    agreement: Agreement
    perplexity: float
    of_reference: float


class Trained:
    """`seen` is every intermediate result of the reference on 32 stories x 64 positions."""

    def __init__(self, folder: Path) -> None:
        self.repacked = tiny_checkpoint("instruct", folder)
        self.reference = Transformer.from_repacked(self.repacked)
        self.seen: dict[str, torch.Tensor] = {}
        rows = tiny_texts.stories(Tokenizer(self.repacked)).rows
        ids = torch.tensor(rows)[:, :N_POSITIONS]
        self.seen["logits"] = self.reference(ids, observe=self.seen.__setitem__)
        for layer in range(N_LAYERS):
            self.seen[f"layers.{layer}.input"] = self.seen[f"layers.{layer - 1}.output" if layer else "embedding"]

    def weights(self, mesh: Mesh) -> CheckpointWeights:
        return CheckpointWeights(RepackedCheckpoint(self.repacked), mesh, None)

    def modules(self, mesh: Mesh, precision: Precision, layer: int, run: Callable, only: tuple[str, ...]) -> Named:
        """Each on the reference's own input."""
        for module in modules(self.weights(mesh), mesh, precision, layer, N_POSITIONS, run is run_decode):
            if module.name.endswith(only):
                ours = run(mesh, module.forward, self.seen[module.given])
                yield module.name, pcc(ours, self.seen[module.expected])

    def experts(self, mesh: Mesh, precision: Precision, layer: int) -> Named:
        x = self.seen[f"layers.{layer}.ffn_norm"].flatten(0, 1)
        expert = Expert(self.weights(mesh), mesh, precision, layer, slot=0)
        out = expert.forward_prefill(mesh.put(x[None, None], ttnn.bfloat8_b, ttnn.TILE_LAYOUT))
        for chip, part in enumerate(ttnn.get_device_tensors(out)):
            theirs = self.reference.layers[layer].feed_forward.experts[chip](x)
            yield f"layers.{layer}.expert.{chip}", pcc(ttnn.to_torch(part)[0, 0].float(), theirs)

    def lm_head(self, mesh: Mesh, precision: Precision) -> float:
        head = LMHead(self.weights(mesh), mesh, precision)

        def whole(x: ttnn.Tensor) -> ttnn.Tensor:
            return mesh.gather_columns(head.forward(x), ttnn.L1_MEMORY_CONFIG)

        return pcc(run_decode(mesh, whole, self.seen["norm"]), self.seen["logits"])

    def whole(self, mesh: Mesh, precision: Precision, text: str) -> Whole:
        """Teacher forced on `answers` or `stories`."""
        texts = getattr(tiny_texts, text)(Tokenizer(self.repacked))
        theirs, next_ids = texts.counted(self.reference(texts.padded())), texts.next_ids()
        ours = texts.counted(teacher_forced(Mixtral(self.weights(mesh), mesh, precision, 64, 128), texts))
        return Whole(agreement(ours, theirs), perplexity(ours, next_ids), perplexity(theirs, next_ids))


ALL_MODULES = ("attention_norm", "attention", "moe", "decoder")
RUNS = (run_decode, run_prefill)
