import torch
from torch import Tensor


class KVCache:
    """Keys and values of all earlier positions, one pair [B, S, n_kv_heads, head_dim] per layer.

    The decode that this enables is for tests: it must give what one pass over the whole sequence gives.
    """

    def __init__(self) -> None:
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """Positions stored so far, the same in all layers between two calls of the model."""
        return self._layers[0][0].shape[1] if self._layers else 0

    def extend(self, layer: int, k_BSGK: Tensor, v_BSGK: Tensor) -> tuple[Tensor, Tensor]:
        """Appends new positions to a layer and returns the keys and values of all."""
        if layer in self._layers:
            old_k, old_v = self._layers[layer]
            k_BSGK, v_BSGK = torch.cat((old_k, k_BSGK), dim=1), torch.cat((old_v, v_BSGK), dim=1)
        self._layers[layer] = (k_BSGK, v_BSGK)
        return k_BSGK, v_BSGK
