"""The modules of a layer of the tiny model, each on the float32 reference's own input."""

import torch
import ttnn

from models.mixtral8x7b.first_light.asked import Asked
from models.mixtral8x7b.first_light.checks import Checks
from models.mixtral8x7b.first_light.notes import Notes
from models.mixtral8x7b.first_light.opened import opened
from models.mixtral8x7b.first_light.placed import Placed, decode_with_cache, run_decode, run_prefill
from models.mixtral8x7b.first_light.random_models import random_ids
from models.mixtral8x7b.first_light.tiny import checkpoint
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.tt.attention import Attention
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.moe import MoE
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.rms_norm import RMSNorm
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

POSITIONS = 64  # of each of 32 rows: a pass of 2048
DECODED = 8  # of them, in decode
SIMULATED_ROWS, SIMULATED_DECODED = 4, 2
LEAST_PCC = 0.995  # of the tiny checkpoint's modules; where a router is undecided one row is another expert's


def run(asked: Asked, notes: Notes) -> None:
    repacked = checkpoint()
    reference = Transformer.from_repacked(repacked.directory)
    seen: dict[str, torch.Tensor] = {}
    reference(random_ids(repacked.config, DECODE_ROWS, POSITIONS), observe=seen.__setitem__)
    rows = SIMULATED_ROWS if asked.is_simulated else DECODE_ROWS  # that are prefilled
    decoded = SIMULATED_DECODED if asked.is_simulated else DECODED
    checks, precision = Checks(asked.target != "mock"), preset(asked.precision, asked.machine)
    with opened(asked, notes) as mesh:
        weights = CheckpointWeights(repacked, mesh, None)
        at = "layers.0."
        norm = RMSNorm(weights, precision, at + "attention_norm")
        attention, moe = Attention(weights, mesh, precision, 0), MoE(weights, mesh, precision, 0)
        block = DecoderBlock(weights, mesh, precision, 0)
        placed = Placed(repacked.config, mesh, POSITIONS, precision)
        layout = placed.whole_pass(POSITIONS, rows)

        def from_cache(module: Attention | DecoderBlock, x: ttnn.Tensor) -> ttnn.Tensor:
            return module.forward_prefill(x, placed.cache, layout)

        for name, topic, decode, prefill, given, expected in (
            ("norm", "matmul", norm.forward_decode, norm.forward_prefill, "embedding", "attention_norm"),
            (
                "attention",
                "attention",
                decode_with_cache(attention, placed),
                lambda x: from_cache(attention, x),
                "attention_norm",
                "attention",
            ),
            ("experts", "matmul", moe.forward_decode, moe.forward_prefill, "ffn_norm", "feed_forward"),
            ("layer", None, decode_with_cache(block, placed), lambda x: from_cache(block, x), "embedding", "output"),
        ):
            x, right = seen[given if given == "embedding" else at + given], seen[at + expected]
            notes.doing(f"{name}, decode", topic)
            checks.close(
                run_decode(mesh, decode, x[:, :decoded]), right[:, :decoded], LEAST_PCC, f"{name}, decode", topic
            )
            notes.doing(f"{name}, prefill", topic)
            checks.close(run_prefill(mesh, prefill, x[:rows]), right[:rows], LEAST_PCC, f"{name}, prefill", topic)
    notes.far(f"{rows * POSITIONS} rows; worst PCC {checks.worst_pcc:.6f}, at least {LEAST_PCC}")
