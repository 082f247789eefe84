"""How close ttnn_cpu is to the real kernels, operation by operation: what tests/data must keep to."""

from dataclasses import dataclass

from ttnn_cpu.witness.compare import Difference


@dataclass(frozen=True)
class Bound:
    """At least this fraction of the values has equal bits, and this correlation; at most this difference (rms)."""

    equal: float
    pcc: float
    rms: float

    def __str__(self) -> str:
        if self == BITS:
            return "all bits equal"
        few = f"{self.equal:.0%} of the values equal, " if self.equal else ""
        return f"{few}rms at most {self.rms:.2%}, PCC at least {self.pcc:g}"

    def holds(self, found: Difference) -> bool:
        return found.equal >= self.equal and found.pcc >= self.pcc and found.rms <= self.rms


BITS = Bound(1.0, 1.0, 0.0)
# What ttnn_cpu computes in float32 and rounds once, the chip computes in steps of its own: products of a few bits at a
# time (HiFi2 drops the last bit of a bf16 activation), sums in float32 or bf16, approximations of exp and 1 / sqrt.
BOUNDS: dict[str, Bound] = {
    "add": BITS,
    "add_": BITS,
    "embedding": BITS,
    "eq": BITS,
    "experimental.minimal_matmul": Bound(0.87, 0.99996, 0.009),
    "experimental.nlp_concat_heads": BITS,
    "experimental.nlp_concat_heads_decode": BITS,
    "experimental.nlp_create_qkv_heads": BITS,
    "experimental.nlp_create_qkv_heads_decode": BITS,
    "experimental.paged_fill_cache": BITS,
    "experimental.paged_fused_update_cache": BITS,
    "experimental.rotary_embedding_llama": Bound(0.72, 0.999995, 0.004),
    "experimental.rotary_embedding_llama_fused_qk": Bound(0.98, 0.999995, 0.001),
    "interleaved_to_sharded": BITS,
    "linear": Bound(0.30, 0.99999, 0.006),
    "matmul": BITS,
    "multiply": Bound(0.99, 0.99999, 0.003),
    "multiply_": Bound(0.97, 0.99998, 0.006),  # phase by phase, the sum rounded to bf16 after each
    "ne": BITS,
    "pad": BITS,
    "plus_one": BITS,
    "reshape": BITS,
    "rms_norm": Bound(0.84, 0.999995, 0.004),
    "sampling": BITS,
    "scale_mask_softmax": Bound(0.93, 0.99999, 0.001),  # 30 of 32 ranks are exactly 0
    "scatter": BITS,
    "sharded_to_interleaved": BITS,
    "slice": BITS,
    "sparse_matmul": Bound(0.87, 0.99996, 0.009),
    "subtract": BITS,
    "sum": BITS,
    "to_layout": BITS,
    "to_memory_config": BITS,
    "topk": BITS,
    "transformer.chunked_scaled_dot_product_attention": Bound(0.5, 0.99999, 0.005),
    "transformer.paged_scaled_dot_product_attention_decode": Bound(0.01, 0.9999, 0.015),
    "transformer.scaled_dot_product_attention": Bound(0.6, 0.99999, 0.005),
    "transpose": BITS,
    "typecast": BITS,
    "unsqueeze_to_4D": BITS,
    "untilize": BITS,
    "where": BITS,
}
