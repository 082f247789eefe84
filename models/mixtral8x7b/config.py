"""The sizes of a Mixtral, read from Mistral's `params.json` or Hugging Face's `config.json`.

Knows nothing about devices: limits of tiles or chips are checked in `tt/`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any


class ConfigError(ValueError):
    """A configuration that cannot be a Mixtral; the message names the value, what was expected and the file."""


class Routing(Enum):
    """How the scores of the chosen experts become weights (the names are TensorRT-LLM's)."""

    RENORMALIZE = "renormalize"  # softmax over the chosen experts only: the weights of a token sum to 1 (Mixtral)
    NONE = "none"  # softmax over all experts, then the chosen ones are taken as they are


MOST = 1024  # layers and experts: beyond, a number is a mistake, and the tables of names would fill the memory


@dataclass(frozen=True)
class MoeConfig:
    num_experts: int
    num_experts_per_tok: int
    routing: Routing = Routing.RENORMALIZE


@dataclass(frozen=True)
class MixtralConfig:
    """Field names as in Mistral's `params.json`."""

    dim: int
    n_layers: int
    head_dim: int
    hidden_dim: int  # of one expert
    n_heads: int
    n_kv_heads: int
    norm_eps: float
    vocab_size: int
    moe: MoeConfig
    rope_theta: float = 1e6
    max_seq_len: int = 32768  # tokens; `params.json` does not carry it, HF calls it max_position_embeddings
    sliding_window: int | None = None  # null for 8x7B; a context that exceeds it is refused

    def __post_init__(self) -> None:
        for name in ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len"):
            _require_positive_int(name, getattr(self, name))
        for name in ("num_experts", "num_experts_per_tok"):
            _require_positive_int(f"moe.{name}", getattr(self.moe, name))
        for name, value in (("n_layers", self.n_layers), ("moe.num_experts", self.moe.num_experts)):
            if value > MOST:
                raise ConfigError(f"{name} is {value}; expected at most {MOST}")
        for name in ("norm_eps", "rope_theta"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise ConfigError(f"{name} is {value!r}; expected a number above 0")
        if self.sliding_window is not None:
            _require_positive_int("sliding_window", self.sliding_window)
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(f"n_heads is {self.n_heads}; expected a multiple of n_kv_heads ({self.n_kv_heads})")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim is {self.head_dim}; expected an even number (rotary embedding turns pairs)")
        if self.moe.num_experts_per_tok > self.moe.num_experts:
            raise ConfigError(
                f"moe.num_experts_per_tok is {self.moe.num_experts_per_tok}; "
                f"expected at most moe.num_experts ({self.moe.num_experts})"
            )

    def check_context(self, n_tokens: int) -> None:
        """Raises ConfigError if a context of n_tokens (prompt plus answer) is beyond what this model attends to."""
        if n_tokens > self.max_seq_len:
            raise ConfigError(f"a context of {n_tokens} tokens is too long; this model was made for {self.max_seq_len}")
        if self.sliding_window is not None and n_tokens > self.sliding_window:
            raise ConfigError(
                f"a context of {n_tokens} tokens exceeds the sliding window of {self.sliding_window}, which is not "
                f"supported; use at most {self.sliding_window} tokens"
            )

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> "MixtralConfig":
        """From the contents of Mistral's `params.json`. Keys that do not describe the sizes are ignored."""
        moe = _get(params, "moe")
        if not isinstance(moe, Mapping):
            raise ConfigError(f"moe is {moe!r}; expected an object with num_experts and num_experts_per_tok")
        required = ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size")
        optional = ("rope_theta", "max_seq_len", "sliding_window")
        return cls(
            moe=MoeConfig(
                num_experts=_get(moe, "num_experts", "moe."),
                num_experts_per_tok=_get(moe, "num_experts_per_tok", "moe."),
                routing=_routing(moe.get("routing", Routing.RENORMALIZE.value)),
            ),
            **{name: _get(params, name) for name in required},
            **{name: params[name] for name in optional if name in params},
        )

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "MixtralConfig":
        """From the contents of Hugging Face's `config.json` for MixtralForCausalLM (any version of transformers)."""
        dim, n_heads = _get(config, "hidden_size"), _get(config, "num_attention_heads")
        _require_positive_int("hidden_size", dim)
        _require_positive_int("num_attention_heads", n_heads)
        rope = config.get("rope_parameters")  # transformers 5 nests rope_theta
        rope = rope if isinstance(rope, Mapping) else {}
        optional = {
            "rope_theta": config.get("rope_theta", rope.get("rope_theta")),
            "max_seq_len": config.get("max_position_embeddings"),
            "sliding_window": config.get("sliding_window"),
        }
        return cls(
            dim=dim,
            n_layers=_get(config, "num_hidden_layers"),
            head_dim=config.get("head_dim") or dim // n_heads,
            hidden_dim=_get(config, "intermediate_size"),
            n_heads=n_heads,
            n_kv_heads=_get(config, "num_key_value_heads"),
            norm_eps=_get(config, "rms_norm_eps"),
            vocab_size=_get(config, "vocab_size"),
            moe=MoeConfig(_get(config, "num_local_experts"), _get(config, "num_experts_per_tok")),
            **{name: value for name, value in optional.items() if value is not None},
        )

    @classmethod
    def from_dir(cls, directory: Path) -> "MixtralConfig":
        """From `params.json` in the directory or, if there is none, `config.json`.

        Raises ConfigError, with the file's path, when it is missing, not JSON, or does not describe a Mixtral.
        """
        for name, read in (("params.json", cls.from_params), ("config.json", cls.from_hf)):
            file = directory / name
            if not file.is_file():
                continue
            try:
                values = json.loads(file.read_text(encoding="utf-8"))
            except (OSError, ValueError, RecursionError) as error:
                raise ConfigError(f"{file} is not readable as JSON: {error}") from error
            if not isinstance(values, dict):
                raise ConfigError(f"{file} holds a {type(values).__name__}; expected an object")
            try:
                return read(values)
            except ConfigError as error:
                raise ConfigError(f"{file}: {error}") from None
        raise ConfigError(f"{directory} has neither params.json nor config.json; one of them must describe the model")

    def to_params(self) -> dict[str, Any]:
        """The contents of a `params.json` from which from_params gives this configuration again."""
        moe: dict[str, Any] = {
            "num_experts": self.moe.num_experts,
            "num_experts_per_tok": self.moe.num_experts_per_tok,
        }
        if self.moe.routing is not Routing.RENORMALIZE:
            moe["routing"] = self.moe.routing.value
        names = ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size")
        optional = ("rope_theta", "max_seq_len", "sliding_window")
        return {name: getattr(self, name) for name in names} | {"moe": moe} | {n: getattr(self, n) for n in optional}


def _get(values: Mapping[str, Any], name: str, prefix: str = "") -> Any:
    if name not in values:
        raise ConfigError(f"{prefix}{name} is missing")
    return values[name]


def _routing(value: Any) -> Routing:
    try:
        return Routing(value)
    except ValueError:
        names = ", ".join(repr(mode.value) for mode in Routing)
        raise ConfigError(f"moe.routing is {value!r}; expected one of {names}") from None


def _require_positive_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least 1")


MIXTRAL_8X7B = MixtralConfig(
    dim=4096,
    n_layers=32,
    head_dim=128,
    hidden_dim=14336,
    n_heads=32,
    n_kv_heads=8,
    norm_eps=1e-5,
    vocab_size=32000,
    moe=MoeConfig(num_experts=8, num_experts_per_tok=2),
)
