"""TorchServe's model_config.yaml, as its Mixtral example has it: what of it has a meaning here."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from models.mixtral8x7b.arguments import described
from models.mixtral8x7b.mistake import Mistake, reason
from models.mixtral8x7b.server.torchserve import USUAL, TorchServeOptions

_TYPES: dict[str, type | tuple[type, ...]] = {
    "responseTimeout": (int, float),
    "converted_ckpt_dir": str,
    "max_new_tokens": int,
    "stream": bool,
}
_EXPECTED = {"responseTimeout": "seconds above 0", "converted_ckpt_dir": "a path", "max_new_tokens": "at least 1"}


class ModelConfigError(Mistake):
    """A model_config.yaml that cannot be used; the message says why."""


@dataclass(frozen=True)
class ModelConfig:
    """ignored: keys without a meaning here, for people."""

    checkpoint: Path | None
    options: TorchServeOptions
    ignored: list[str]


def read_model_config(file: Path) -> ModelConfig:
    """Raises ModelConfigError."""
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelConfigError(f"{file} cannot be read ({reason(error)}); expected a model_config.yaml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ModelConfigError(f"{file} is no YAML ({' '.join(str(error).split())}); mend it") from error
    handler = values.get("handler") or {} if isinstance(values, dict) else None
    if not isinstance(handler, dict):
        raise ModelConfigError(f"{file} has no keys, or none in its handler; expected those of a model_config.yaml")
    found = {key: value for key, value in values.items() if key != "handler"} | handler
    known = {key: found[key] for key in _TYPES if found.get(key) is not None}
    for key, value in known.items():
        _check(file, key, value)
    return ModelConfig(
        _folder(known.get("converted_ckpt_dir")),
        TorchServeOptions(
            known.get("max_new_tokens", USUAL.max_new_tokens),
            known.get("stream", USUAL.streams),
            known.get("responseTimeout", USUAL.response_timeout_s),
        ),
        sorted(str(key) for key in found if key not in _TYPES),
    )


def _check(file: Path, key: str, value: Any) -> None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    right = isinstance(value, _TYPES[key]) and (key == "stream" or not isinstance(value, bool))
    if not right or (is_number and not 0 < value < float("inf")):
        expected = _EXPECTED.get(key, "true or false")
        raise ModelConfigError(f"{key} of {file} {described(value)}; expected {expected}")


def _folder(given: str | None) -> Path | None:
    """There it is a file in the folder."""
    if given is None:
        return None
    path = Path(given)
    return path.parent if path.suffix in (".pth", ".pt") else path
