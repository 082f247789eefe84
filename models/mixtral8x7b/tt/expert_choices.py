import torch
import ttnn

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, TILE
from models.mixtral8x7b.tt.mesh import Mesh


class ExpertChoices:
    """The experts that every row's token was sent to by a decode step that was told to note them, on the chips.

    Of each layer what its router ranked, uint32 [1, 1, 32, TILE] in DRAM: the experts per token that were chosen come
    first, the one of the largest share before the others.
    """

    def __init__(self, config: MixtralConfig, mesh: Mesh) -> None:
        self._mesh = mesh
        self._experts_per_token = config.moe.num_experts_per_tok
        nothing = torch.zeros(1, 1, DECODE_ROWS, TILE, dtype=torch.int32)
        self._of_layers = [mesh.put(nothing, ttnn.uint32, ttnn.TILE_LAYOUT) for _ in range(config.n_layers)]

    def note(self, layer: int, ranked: ttnn.Tensor) -> None:
        ttnn.copy(ranked, self._of_layers[layer])

    def read(self) -> torch.Tensor:
        """int64 [n_layers, 32, experts per token], a host read for each layer; a row without a user has any."""
        ranked = torch.stack([self._mesh.read_replicated(of_layer)[0, 0] for of_layer in self._of_layers])
        return ranked[..., : self._experts_per_token].to(torch.int64)
