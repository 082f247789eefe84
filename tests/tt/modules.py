"""The modules of a layer, each to be run on the reference's own input."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import ttnn

from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.mesh import Mesh
from models.mixtral8x7b.tt.moe import MoE
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.rms_norm import RMSNorm
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.tt.cases import Placed, decode_with_cache


@dataclass(frozen=True)
class Module:
    """`given` and `expected` are the names by which the reference tells of them."""

    name: str
    forward: Callable[[ttnn.Tensor], ttnn.Tensor]
    given: str
    expected: str


def modules(
    weights: CheckpointWeights, mesh: Mesh, precision: Precision, layer: int, n_positions: int, is_decode: bool
) -> Iterator[Module]:
    """Of one layer, for 32 rows of n_positions: one position at a time in decode, all at once in prefill."""
    at = f"layers.{layer}."

    def forward(module: RMSNorm | MoE) -> Callable[[ttnn.Tensor], ttnn.Tensor]:
        return module.forward_decode if is_decode else module.forward_prefill

    def with_cache(module: Attention | DecoderBlock) -> Callable[[ttnn.Tensor], ttnn.Tensor]:
        placed = Placed(weights.config, mesh, n_positions, precision)
        if is_decode:
            return decode_with_cache(module, placed)
        return lambda x: module.forward_prefill(x, placed.cache, placed.whole_pass(n_positions))

    norm, attention = RMSNorm(weights, precision, at + "attention_norm"), Attention(weights, mesh, precision, layer)
    yield Module(at + "attention_norm", forward(norm), at + "input", at + "attention_norm")
    yield Module(at + "attention", with_cache(attention), at + "attention_norm", at + "attention")
    moe, block = MoE(weights, mesh, precision, layer), DecoderBlock(weights, mesh, precision, layer)
    yield Module(at + "moe", forward(moe), at + "ffn_norm", at + "feed_forward")
    yield Module(at + "decoder", with_cache(block), at + "input", at + "output")
