"""Rotary embeddings that were scaled for contexts longer than those of the pre-training.

A published configuration says how under `rope_scaling`, from transformers 5 on under `rope_parameters`. Each way turns
the plain frequencies theta^(-2i/head_dim) into others, and some multiply cos and sin by an attention factor. The
formulas are those of transformers' `modeling_rope_utils`, and the papers that it names; computed in float64.

`dynamic` and `longrope` choose their frequencies by the length of the text: such a model is served up to the length
where one table is right, which `scaling_of` gives as its longest context.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from models.mixtral8x7b.config_keys import (
    ConfigError,
    refuse_unknown,
    require,
    require_positive,
    require_positive_int,
    shown_value,
)

SECTION = "rope_scaling"


@dataclass(frozen=True)
class LinearScaling:
    """Every position counts for 1/factor of one (Chen et al., 2023)."""

    factor: float
    attention_factor = 1.0

    def frequencies(self, plain: Sequence[float], theta: float) -> list[float]:
        return [f / self.factor for f in plain]


@dataclass(frozen=True)
class Llama3Scaling:
    """Long waves are stretched by the factor, short ones stay, between the two it goes over smoothly (Llama 3.1)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int
    attention_factor = 1.0

    def frequencies(self, plain: Sequence[float], theta: float) -> list[float]:
        return [self._stretched(f) for f in plain]

    def _stretched(self, frequency: float) -> float:
        turns = self.original_max_position_embeddings * frequency / (2 * math.pi)  # within the original context
        if turns > self.high_freq_factor:
            return frequency
        if turns < self.low_freq_factor:
            return frequency / self.factor
        kept = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        return (1 - kept) * frequency / self.factor + kept * frequency


@dataclass(frozen=True)
class YarnScaling:
    """Pairs that turn often in the original context stay, those that turn rarely are stretched (Peng et al., 2023)."""

    factor: float
    original_max_position_embeddings: int
    attention_factor: float
    beta_fast: float = 32  # turns in the original context from which on a pair stays
    beta_slow: float = 1  # turns below which a pair is stretched by the whole factor
    truncate: bool = True  # whether the range between the two ends at whole pairs

    def frequencies(self, plain: Sequence[float], theta: float) -> list[float]:
        low, high = self._pair(self.beta_fast, len(plain), theta), self._pair(self.beta_slow, len(plain), theta)
        if self.truncate:
            low, high = math.floor(low), math.ceil(high)
        low, high = max(low, 0), min(high, 2 * len(plain) - 1)
        high = high + 0.001 if low == high else high
        stretch = [min(max((i - low) / (high - low), 0.0), 1.0) for i in range(len(plain))]
        return [s * f / self.factor + (1 - s) * f for f, s in zip(plain, stretch, strict=True)]

    def _pair(self, turns: float, n_pairs: int, theta: float) -> float:
        """Which pair turns so often within the original context."""
        wave = self.original_max_position_embeddings / (turns * 2 * math.pi)
        return n_pairs * math.log(wave) / math.log(theta)


@dataclass(frozen=True)
class LongRopeScaling:
    """Each pair has a factor of its own (Ding et al., 2024); these are the ones for contexts up to the original's."""

    short_factor: tuple[float, ...]
    attention_factor: float

    def frequencies(self, plain: Sequence[float], theta: float) -> list[float]:
        if len(self.short_factor) != len(plain):
            raise ConfigError(
                f"{SECTION}.short_factor has {len(self.short_factor)} numbers; expected one for each of the "
                f"{len(plain)} pairs of a head"
            )
        return [f / factor for f, factor in zip(plain, self.short_factor, strict=True)]


RopeScaling: TypeAlias = LinearScaling | Llama3Scaling | YarnScaling | LongRopeScaling
_TYPES: dict[str, type[RopeScaling]] = {
    "linear": LinearScaling,
    "llama3": Llama3Scaling,
    "yarn": YarnScaling,
    "longrope": LongRopeScaling,
}
_SPELLINGS = {"su": "longrope"}  # what the first of its models called it
_ORIGINAL = "original_max_position_embeddings"
_ALWAYS = ("type", "rope_type", "rope_theta", _ORIGINAL)  # may stand beside every type; not all of them read it


def scaling_of(values: Mapping[str, Any], max_seq_len: int) -> tuple[RopeScaling | None, int]:
    """The scaling that a section describes (nothing for the plain embedding), and the longest context it is right for.

    Raises ConfigError, with the key's name, for a type that is unknown, a value that is no number, or an unknown key.
    """
    kinds = {str(values[key]) for key in ("type", "rope_type") if values.get(key) is not None}
    if len(kinds) > 1:
        raise ConfigError(f"{SECTION} has the types {' and '.join(sorted(kinds))}; expected one")
    kind = kinds.pop() if kinds else "default"
    kind = _SPELLINGS.get(kind, kind)
    # a share of the head that is not the whole of it is another model; the whole is what Mixtral turns
    values = {key: value for key, value in values.items() if (key, value) != ("partial_rotary_factor", 1)}
    if kind == "default":
        refuse_unknown(values, _ALWAYS, f"{SECTION}.")
        return None, max_seq_len
    if kind == "dynamic":
        refuse_unknown(values, (*_ALWAYS, "factor"), f"{SECTION}.")
        return None, min(max_seq_len, _original(values, max_seq_len))
    if kind not in _TYPES:
        expected = ", ".join(["default", "dynamic", *_TYPES])
        raise ConfigError(f"{SECTION} is of the type {kind!r}, which is not known here; expected one of {expected}")
    if kind == "linear":
        refuse_unknown(values, (*_ALWAYS, "factor"), f"{SECTION}.")
        return LinearScaling(_number(values, "factor")), max_seq_len
    if kind == "llama3":
        return _llama3(values, max_seq_len), max_seq_len
    if kind == "yarn":
        return _yarn(values, max_seq_len), max_seq_len
    return _longrope(values, max_seq_len)


def to_section(scaling: RopeScaling) -> dict[str, Any]:
    """The section from which scaling_of gives this scaling again."""
    kind = next(name for name, type_ in _TYPES.items() if isinstance(scaling, type_))
    return {"rope_type": kind} | asdict(scaling)


def _llama3(values: Mapping[str, Any], max_seq_len: int) -> Llama3Scaling:
    names = ("factor", "low_freq_factor", "high_freq_factor")
    refuse_unknown(values, (*_ALWAYS, *names), f"{SECTION}.")
    factor, low, high = (_number(values, name) for name in names)
    if low >= high:
        raise ConfigError(f"{SECTION}.low_freq_factor is {low}; expected less than high_freq_factor ({high})")
    return Llama3Scaling(factor, low, high, _original(values, max_seq_len))


def _yarn(values: Mapping[str, Any], max_seq_len: int) -> YarnScaling:
    names = ("factor", "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate")
    refuse_unknown(values, (*_ALWAYS, *names), f"{SECTION}.")
    # 0 means the same as nothing in these four
    values = {key: value for key, value in values.items() if value or key not in names[2:6]}
    original = _original(values, max_seq_len)
    factor = _number(values, "factor", max_seq_len / original)
    weights = (_number(values, "mscale"), _number(values, "mscale_all_dim")) if _has_both(values) else (1.0, 0.0)
    truncate = values.get("truncate", True)
    if not isinstance(truncate, bool):
        raise ConfigError(f"{SECTION}.truncate is {shown_value(truncate)}; expected true or false")
    return YarnScaling(
        factor,
        original,
        _number(values, "attention_factor", _magnitude(factor, weights[0]) / _magnitude(factor, weights[1])),
        _number(values, "beta_fast", 32),
        _number(values, "beta_slow", 1),
        truncate,
    )


def _has_both(values: Mapping[str, Any]) -> bool:
    return "mscale" in values and "mscale_all_dim" in values


def _magnitude(factor: float, weight: float) -> float:
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


def _longrope(values: Mapping[str, Any], max_seq_len: int) -> tuple[LongRopeScaling, int]:
    names = ("short_factor", "long_factor", "factor", "attention_factor")
    refuse_unknown(values, (*_ALWAYS, *names), f"{SECTION}.")
    original = _original(values, max_seq_len)
    factor = _number(values, "factor", max_seq_len / original)
    attention = math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0
    short = require(values, "short_factor", f"{SECTION}.")
    if not isinstance(short, (list, tuple)):
        raise ConfigError(f"{SECTION}.short_factor is {shown_value(short)}; expected a list of numbers")
    for number in short:
        require_positive(f"a number of {SECTION}.short_factor", number)
    return LongRopeScaling(tuple(short), _number(values, "attention_factor", attention)), min(original, max_seq_len)


def _number(values: Mapping[str, Any], name: str, default: float | None = None) -> float:
    value = values.get(name)
    value = default if value is None else value
    if value is None:
        raise ConfigError(f"{SECTION}.{name} is missing; expected a number above 0")
    require_positive(f"{SECTION}.{name}", value)
    return value


def _original(values: Mapping[str, Any], max_seq_len: int) -> int:
    value = values.get(_ORIGINAL)
    value = max_seq_len if value is None else value
    require_positive_int(f"{SECTION}.{_ORIGINAL}", value)
    return value
