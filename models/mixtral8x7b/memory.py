"""What stands in each chip's DRAM, computed before anything is loaded."""

from dataclasses import dataclass

from models.mixtral8x7b.config import ConfigError, MixtralConfig

BYTES = {"BFLOAT16": 2.0, "BFLOAT8_B": 1088 / 1024, "BFLOAT4_B": 576 / 1024}  # per element, tiles with their exponents
CHIP_BYTES = 12.805e9  # free in a Wormhole chip of a T3000 with a 64 MB trace region, as ttnn 0.81.1's allocator says
RESERVED_BYTES = 1.0e9  # for prefill's activations: 0.6 GB at 16k tokens in one pass


@dataclass(frozen=True)
class ChipMemory:
    """Bytes in one chip; dtypes are ttnn's names (BFLOAT8_B)."""

    weights: float
    per_kv_token: float

    @classmethod
    def of(
        cls,
        config: MixtralConfig,
        n_devices: int,
        attention_weights: str,
        expert_weights: str,
        lm_head_weights: str,
        kv_cache: str,
    ) -> "ChipMemory":
        """Sizes of the parts that each chip holds; the embedding and the rotary tables are whole on every chip."""
        attention = config.dim * config.head_dim * 2 * (config.n_heads + config.n_kv_heads) / n_devices
        experts = 3 * config.dim * config.hidden_dim * config.moe.num_experts / n_devices
        layer = attention * BYTES[attention_weights] + experts * BYTES[expert_weights]
        whole = config.vocab_size * config.dim + 2 * config.max_seq_len * config.head_dim
        head = config.vocab_size * config.dim / n_devices
        return cls(
            weights=config.n_layers * layer + whole * BYTES["BFLOAT16"] + head * BYTES[lm_head_weights],
            per_kv_token=2 * config.n_layers * config.n_kv_heads / n_devices * config.head_dim * BYTES[kv_cache],
        )

    @property
    def kv_tokens(self) -> int:
        """Tokens of all users together that fit beside the weights."""
        return max(0, int((CHIP_BYTES - RESERVED_BYTES - self.weights) / self.per_kv_token))

    def check(self, n_users: int, context: int) -> None:
        """Raises ConfigError, with what would fit, if the KV cache of n_users x context does not."""
        wanted = n_users * context
        if wanted > self.kv_tokens:
            raise ConfigError(
                f"{n_users} users x {context} tokens need {wanted * self.per_kv_token / 1e9:.1f} GB of KV cache in "
                f"each chip; {self.kv_tokens * self.per_kv_token / 1e9:.1f} GB fit beside the weights: use at most "
                f"{self.kv_tokens // context} users at this context, or {self.kv_tokens // n_users} tokens for each"
            )
