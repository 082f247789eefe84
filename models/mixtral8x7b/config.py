"""The sizes of a Mixtral, read from Mistral's `params.json` or Hugging Face's `config.json`.

Knows nothing about devices: limits of tiles or chips are checked in `tt/`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from models.mixtral8x7b.config_keys import (
    ConfigError,
    refuse_unknown,
    require,
    require_positive,
    require_positive_int,
    shown_value,
)
from models.mixtral8x7b.json_file import JsonError, read_object
from models.mixtral8x7b.rope_scaling import SECTION, RopeScaling, scaling_of, to_section

__all__ = ["MIXTRAL_8X7B", "ConfigError", "MixtralConfig", "MoeConfig", "Routing"]

CONFIG_FILES = ("params.json", "config.json")
MOST = 1024  # layers and experts: beyond, a number is a mistake, and the tables of names would fill the memory
DEFAULT_CONTEXT = 32768  # tokens; where the file does not say it, as Mistral's never does
DEFAULT_THETA = 1e6
SILU = ("silu", "swish")  # two names of one function
HF_MODEL_TYPE, HF_ARCHITECTURE = "mixtral", "MixtralForCausalLM"
_SIZES = ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "norm_eps", "vocab_size")
_HF_KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "head_dim",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "rms_norm_eps",
    "vocab_size",
    "num_local_experts",
    "num_experts",
    "num_experts_per_tok",
    "max_position_embeddings",
    "original_max_position_embeddings",
    "partial_rotary_factor",
    "rope_theta",
    "rope_parameters",
    "rope_scaling",
    "sliding_window",
    "tie_word_embeddings",
    "hidden_act",
)


class Routing(Enum):
    """How the scores of the chosen experts become weights (the names are TensorRT-LLM's)."""

    RENORMALIZE = "renormalize"  # softmax over the chosen experts only: the weights of a token sum to 1 (Mixtral)
    NONE = "none"  # softmax over all experts, then the chosen ones are taken as they are


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
    rope_theta: float = DEFAULT_THETA
    max_seq_len: int = DEFAULT_CONTEXT  # tokens; HF calls it max_position_embeddings
    sliding_window: int | None = None  # null for 8x7B; a context that exceeds it is refused
    rope_scaling: RopeScaling | None = None  # of models for longer contexts
    tied_embeddings: bool = False  # the embedding serves as LM head too, where a checkpoint has none of its own

    def __post_init__(self) -> None:
        for name in ("dim", "n_layers", "head_dim", "hidden_dim", "n_heads", "n_kv_heads", "vocab_size", "max_seq_len"):
            require_positive_int(name, getattr(self, name))
        for name in ("num_experts", "num_experts_per_tok"):
            require_positive_int(f"moe.{name}", getattr(self.moe, name))
        for name, value in (("n_layers", self.n_layers), ("moe.num_experts", self.moe.num_experts)):
            if value > MOST:
                raise ConfigError(f"{name} is {value}; expected at most {MOST}")
        require_positive("norm_eps", self.norm_eps)
        require_positive("rope_theta", self.rope_theta)
        if self.rope_theta <= 1:
            raise ConfigError(f"rope_theta is {self.rope_theta}; expected a number above 1, as 1000000.0")
        if self.sliding_window is not None:
            require_positive_int("sliding_window", self.sliding_window)
        if not isinstance(self.tied_embeddings, bool):
            raise ConfigError(f"tied embeddings are {shown_value(self.tied_embeddings)}; expected true or false")
        if self.n_heads % self.n_kv_heads:
            raise ConfigError(f"n_heads is {self.n_heads}; expected a multiple of n_kv_heads ({self.n_kv_heads})")
        if self.head_dim % 2:
            raise ConfigError(f"head_dim is {self.head_dim}; expected an even number (rotary embedding turns pairs)")
        if self.moe.num_experts_per_tok > self.moe.num_experts:
            raise ConfigError(
                f"moe.num_experts_per_tok is {self.moe.num_experts_per_tok}; "
                f"expected at most moe.num_experts ({self.moe.num_experts})"
            )
        self.rotary_frequencies()  # refuses factors that do not fit the head

    def rotary_frequencies(self) -> list[float]:
        """By how much each pair of a head turns from one position to the next, in radians; head_dim / 2 of them."""
        plain = [self.rope_theta ** (-2 * pair / self.head_dim) for pair in range(self.head_dim // 2)]
        return self.rope_scaling.frequencies(plain, self.rope_theta) if self.rope_scaling else plain

    @property
    def rotary_magnitude(self) -> float:
        """By which cos and sin are multiplied."""
        return self.rope_scaling.attention_factor if self.rope_scaling else 1.0

    @property
    def longest_context(self) -> int:
        """Tokens, prompt and answer, that `check_context` lets pass."""
        return min(self.max_seq_len, self.sliding_window or self.max_seq_len)

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
        """From the contents of Mistral's `params.json`, or of the one that to_params gives.

        Raises ConfigError for a size that is missing or wrong, and for a key that could change the numbers and is
        not known.
        """
        moe = require(params, "moe")
        if not isinstance(moe, Mapping):
            raise ConfigError(f"moe is {shown_value(moe)}; expected an object with num_experts and num_experts_per_tok")
        optional = ("rope_theta", "max_seq_len", "sliding_window", "tied_embeddings")
        refuse_unknown(moe, ("num_experts", "num_experts_per_tok", "routing"), "moe.")
        refuse_unknown(params, (*_SIZES, *optional, "moe", SECTION))
        values = {name: params[name] for name in optional if name in params}
        scaling, context = _scaling(params, values.get("max_seq_len", DEFAULT_CONTEXT))
        return cls(
            moe=MoeConfig(
                num_experts=require(moe, "num_experts", "moe."),
                num_experts_per_tok=require(moe, "num_experts_per_tok", "moe."),
                routing=_routing(moe.get("routing", Routing.RENORMALIZE.value)),
            ),
            rope_scaling=scaling,
            **{name: require(params, name) for name in _SIZES},
            **(values | {"max_seq_len": context}),
        )

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> "MixtralConfig":
        """From the contents of Hugging Face's `config.json` for MixtralForCausalLM (any version of transformers).

        Raises ConfigError for what from_params refuses, for another architecture and for a quantised model.
        """
        _check_is_mixtral(config)
        given = {key: value for key, value in config.items() if value is not None}
        refuse_unknown(given, _HF_KEYS)
        if given.get("hidden_act", "silu") not in SILU:
            raise ConfigError(
                f'hidden_act is {given["hidden_act"]!r}; expected "silu": other activations do not run here'
            )
        n_heads, experts = require(given, "num_attention_heads"), _one_of(given, "num_local_experts", "num_experts")
        dim = require(given, "hidden_size")
        require_positive_int("hidden_size", dim)
        require_positive_int("num_attention_heads", n_heads)
        theta, section = _rotary_of_hf(given)
        scaling, context = _scaling({SECTION: section}, given.get("max_position_embeddings", DEFAULT_CONTEXT))
        return cls(
            dim=dim,
            n_layers=require(given, "num_hidden_layers"),
            head_dim=given.get("head_dim") or dim // n_heads,
            hidden_dim=require(given, "intermediate_size"),
            n_heads=n_heads,
            n_kv_heads=given.get("num_key_value_heads", n_heads),
            norm_eps=require(given, "rms_norm_eps"),
            vocab_size=require(given, "vocab_size"),
            moe=MoeConfig(experts, require(given, "num_experts_per_tok")),
            rope_theta=theta,
            max_seq_len=context,
            sliding_window=given.get("sliding_window"),
            rope_scaling=scaling,
            tied_embeddings=given.get("tie_word_embeddings", False),
        )

    @classmethod
    def from_file(cls, file: Path) -> "MixtralConfig":
        """From a params.json or config.json, told apart by their keys and not by their names.

        Raises ConfigError, with the file's path, when it cannot be read or does not describe a Mixtral.
        """
        try:
            values = read_object(file)
            return cls.from_params(values) if "dim" in values or "n_layers" in values else cls.from_hf(values)
        except JsonError as error:
            raise ConfigError(str(error)) from error
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None

    @classmethod
    def from_dir(cls, directory: Path, names: Sequence[str] = CONFIG_FILES) -> "MixtralConfig":
        """From the first of these files that is in the directory. Raises ConfigError as from_file, and if none is."""
        for name in names:
            if (directory / name).is_file():
                return cls.from_file(directory / name)
        raise ConfigError(f"{directory} has neither params.json nor config.json; one of them must describe the model")

    def to_params(self) -> dict[str, Any]:
        """The contents of a `params.json` from which from_params gives this configuration again."""
        moe: dict[str, Any] = {
            "num_experts": self.moe.num_experts,
            "num_experts_per_tok": self.moe.num_experts_per_tok,
        }
        if self.moe.routing is not Routing.RENORMALIZE:
            moe["routing"] = self.moe.routing.value
        values = {name: getattr(self, name) for name in _SIZES} | {"moe": moe}
        values |= {name: getattr(self, name) for name in ("rope_theta", "max_seq_len", "sliding_window")}
        if self.rope_scaling is not None:
            values[SECTION] = to_section(self.rope_scaling)
        if self.tied_embeddings:
            values["tied_embeddings"] = True
        return values


def _check_is_mixtral(config: Mapping[str, Any]) -> None:
    """Raises ConfigError for another architecture or a quantised model, whatever else the configuration says."""
    kind, architectures = config.get("model_type") or HF_MODEL_TYPE, config.get("architectures") or [HF_ARCHITECTURE]
    if kind != HF_MODEL_TYPE or architectures != [HF_ARCHITECTURE]:
        raise ConfigError(
            f"it describes another model (model_type {shown_value(kind)}, architectures {shown_value(architectures)}); "
            f'expected "{HF_MODEL_TYPE}" and ["{HF_ARCHITECTURE}"]: use a Mixtral'
        )
    quantised = config.get("quantization_config")
    if quantised:
        method = quantised.get("quant_method") or ", ".join(quantised) if isinstance(quantised, Mapping) else quantised
        raise ConfigError(
            f"the checkpoint is quantised ({method}); expected bf16, fp16 or fp32 weights: fetch the original, or if "
            "its weights are whole, take quantization_config out of the file"
        )


def _one_of(given: Mapping[str, Any], name: str, alias: str) -> Any:
    """The value under either of two names of one thing."""
    if name in given and alias in given and given[name] != given[alias]:
        raise ConfigError(f"{name} is {given[name]} and {alias} is {given[alias]}; expected one number of experts")
    return given[alias] if alias in given else require(given, name)


def _rotary_of_hf(given: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """rope_theta, and the section that says how the embedding is scaled.

    transformers 5 keeps both in rope_parameters; a theta beside that is a default that an older version wrote.
    """
    nested, older = given.get("rope_parameters") or {}, given.get(SECTION) or {}
    for name, section in (("rope_parameters", nested), (SECTION, older)):
        if not isinstance(section, Mapping):
            raise ConfigError(f"{name} is {shown_value(section)}; expected an object")
    for key in older.keys() & nested.keys():
        if older[key] != nested[key]:
            raise ConfigError(
                f"{SECTION}.{key} is {shown_value(older[key])} and rope_parameters.{key} {shown_value(nested[key])}; "
                "expected one of them: take the wrong one out of the file"
            )
    section = {**older, **nested}
    theta = section.get("rope_theta")
    theta = given.get("rope_theta", DEFAULT_THETA) if theta is None else theta
    for key in ("original_max_position_embeddings", "partial_rotary_factor"):
        if key in given and section.get(key, given[key]) != given[key]:
            raise ConfigError(f"{key} is {given[key]}, and {section[key]} in its section; expected one value")
        section |= {key: given[key]} if key in given else {}
    return theta, section


def _scaling(values: Mapping[str, Any], max_seq_len: Any) -> tuple[RopeScaling | None, int]:
    require_positive_int("max_seq_len", max_seq_len)
    section = values.get(SECTION) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(f"{SECTION} is {shown_value(section)}; expected an object")
    return scaling_of(section, max_seq_len)


def _routing(value: Any) -> Routing:
    try:
        return Routing(value)
    except ValueError:
        names = ", ".join(repr(mode.value) for mode in Routing)
        raise ConfigError(f"moe.routing is {shown_value(value)}; expected one of {names}") from None


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
