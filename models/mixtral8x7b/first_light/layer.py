"""One decoder layer of Mixtral 8x7B at its own sizes, random weights, against the float32 reference."""

from dataclasses import replace

import torch

from models.mixtral8x7b.config import MIXTRAL_8X7B
from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import opened
from models.mixtral8x7b.first_light.placed import Placed, decode_with_cache, run_decode, run_prefill, weights_of
from models.mixtral8x7b.first_light.random_models import SMALL, exact_model
from models.mixtral8x7b.reference.decoder import DecoderBlock as DecoderLayer
from models.mixtral8x7b.reference.model import positions
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.precision import preset

POSITIONS = 64  # of each of 32 rows: a pass of 2048
DECODED = 8  # of them, in decode
SIMULATED_ROWS, SIMULATED_DECODED = 4, 2
LEAST_PCC = 0.995  # of what the layer adds, where its router is decided
MARGIN = 0.03  # of router logits: closer, any rounding may choose another expert


def run(asked: Asked, notes: Notes) -> None:
    config = replace(MIXTRAL_8X7B, n_layers=1, max_seq_len=256, vocab_size=256) if asked.full_size else SMALL
    rows = SIMULATED_ROWS if asked.is_simulated else DECODE_ROWS  # that are prefilled
    n_decoded = SIMULATED_DECODED if asked.is_simulated else DECODED
    notes.doing("making random weights")
    model = exact_model(config)
    x = torch.randn(DECODE_ROWS, POSITIONS, config.dim, generator=torch.Generator().manual_seed(1)).bfloat16().float()
    notes.doing("the layer on the host, in float32")
    seen: dict[str, torch.Tensor] = {}
    cos, sin = positions(config, 0, POSITIONS)
    layer = model.layers[0]
    assert isinstance(layer, DecoderLayer)
    expected = layer(x, cos, sin, observe=seen.__setitem__) - x
    scores = layer.feed_forward.gate(seen["ffn_norm"]).sort(-1, descending=True).values
    chosen = config.moe.num_experts_per_tok
    decided = scores[..., chosen - 1] - scores[..., chosen] > MARGIN
    checks, precision = Checks(asked.target != "mock"), preset(asked.precision, asked.machine)
    with opened(asked, notes) as mesh:
        notes.doing("sending the weights")
        block = DecoderBlock(weights_of(model, mesh), mesh, precision, 0)
        placed = Placed(config, mesh, POSITIONS, precision)
        layout = placed.whole_pass(POSITIONS, rows)
        notes.doing("the layer, decode")
        decoded = run_decode(mesh, decode_with_cache(block, placed), x[:, :n_decoded]) - x[:, :n_decoded]
        notes.doing("the layer, prefill")
        prefilled = run_prefill(mesh, lambda y: block.forward_prefill(y, placed.cache, layout), x[:rows]) - x[:rows]
    for name, found in (("decode", decoded), ("prefill", prefilled)):
        what = f"a layer {config.dim} wide, {name}"
        there = slice(len(found)), slice(found.shape[1])
        right, counts = expected[there], decided[there]
        checks.close(found[counts], right[counts], LEAST_PCC, what, "matmul")
    share = decided.float().mean().item()
    notes.far(f"dim {config.dim}: PCC {checks.worst_pcc:.6f} over the {share:.0%} of rows whose router is decided")
