"""`ttnn.transformer`."""

from ttnn_cpu.ops.sdpa import chunked_scaled_dot_product_attention, scaled_dot_product_attention
from ttnn_cpu.ops.sdpa_decode import paged_scaled_dot_product_attention_decode

__all__ = [
    "chunked_scaled_dot_product_attention",
    "paged_scaled_dot_product_attention_decode",
    "scaled_dot_product_attention",
]
