"""Mixtral in plain PyTorch, float32: the specification that the ttnn model is checked against.

Slow is fine here, clever is not. `Transformer.from_repacked(directory)(tokens)` gives the logits of every position.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.decoder import DecoderBlock
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.observe import Observe, nobody, under
from models.mixtral8x7b.reference.rms_norm import RMSNorm
from models.mixtral8x7b.reference.rope import rope_tables


class Transformer(nn.Module):
    """The whole model. Parameters carry Mistral's names, one tensor per expert, every matrix as [out, in]."""

    def __init__(self, config: MixtralConfig) -> None:
        super().__init__()
        self.config = config
        self.tok_embeddings = nn.Embedding(config.vocab_size, config.dim)
        self.layers = nn.ModuleList(DecoderBlock(config, layer) for layer in range(config.n_layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.output = nn.Linear(config.dim, config.vocab_size, bias=False)

    @classmethod
    def from_repacked(cls, directory: str | Path) -> "Transformer":
        """Reads what `scripts/repack_weights.py` wrote, as float32; raises CheckpointError if it did not."""
        checkpoint = RepackedCheckpoint(directory)
        with torch.device("meta"):
            model = cls(checkpoint.config)
        weights = {name: checkpoint.tensor(name).float() for name in checkpoint.names()}
        model.load_state_dict(weights, assign=True)
        return model.eval().requires_grad_(False)

    def forward(self, tokens_BS: Tensor, cache: KVCache | None = None, observe: Observe = nobody) -> Tensor:
        """int64 tokens [B, S] -> float32 logits [B, S, vocab].

        With a cache the tokens continue those of earlier calls. `observe(name, value)` is told "embedding", each
        layer's results as "layers.N. ..." (see DecoderBlock; "layers.N.output" is the residual after it) and "norm".
        """
        start = cache.length if cache is not None else 0
        cos_SP, sin_SP = positions(self.config, start, tokens_BS.shape[1])
        x_BSD = self.tok_embeddings(tokens_BS)
        observe("embedding", x_BSD)
        for n, layer in enumerate(self.layers):
            x_BSD = layer(x_BSD, cos_SP, sin_SP, cache, under(f"layers.{n}", observe))
            observe(f"layers.{n}.output", x_BSD)
        x_BSD = self.norm(x_BSD)
        observe("norm", x_BSD)
        return self.output(x_BSD)


@torch.no_grad()
def logits_layer_by_layer(directory: str | Path, tokens_BS: Tensor, n_layers: int | None = None) -> Tensor:
    """What Transformer.from_repacked(directory)(tokens_BS) returns, with one layer in memory at a time.

    With n_layers only the first layers are run before the head.

    For checkpoints whose float32 form does not fit: Mixtral 8x7B takes 187 GB whole and 6 GB this way.
    """
    checkpoint = RepackedCheckpoint(directory)
    config = checkpoint.config
    cos_SP, sin_SP = positions(config, 0, tokens_BS.shape[1])
    x_BSD = checkpoint.tensor("tok_embeddings.weight")[tokens_BS].float()
    for n in range(config.n_layers if n_layers is None else n_layers):
        prefix = f"layers.{n}."
        with torch.device("meta"):
            block = DecoderBlock(config, n)
        weights = {name: checkpoint.tensor(prefix + name).float() for name in block.state_dict()}
        block.load_state_dict(weights, assign=True)
        x_BSD = block(x_BSD, cos_SP, sin_SP)
    with torch.device("meta"):
        norm = RMSNorm(config.dim, config.norm_eps)
    norm.load_state_dict({"weight": checkpoint.tensor("norm.weight").float()}, assign=True)
    return norm(x_BSD) @ checkpoint.tensor("output.weight").float().T


def positions(config: MixtralConfig, start: int, count: int) -> tuple[Tensor, Tensor]:
    """The rotary tables of positions start .. start + count - 1, after checking that the model reaches that far."""
    config.check_context(start + count)
    cos, sin = rope_tables(config, start + count)
    return cos[start:], sin[start:]
