"""The keys of a published configuration: none that could change a number is passed over.

A key is read by `config.py`, or it is bookkeeping, or its value is neutral; any other is refused by name, before a
weight is read or fetched.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from models.mixtral8x7b.mistake import Mistake

# Keys whose value changes no logit of a Mixtral, by pattern and reason.
_BOOKKEEPING = re.compile(
    "|".join(
        (
            # names, versions and where a file came from
            r"_name_or_path|name_or_path|model_name|base_model|author|license|_commit_hash|.*_version|model_type",
            r"architectures|unsloth_\w+|torchscript|finetuning_task|task_specific_params|tokenizer_class|prefix",
            # how weights and numbers are stored, and which of several equal programs runs
            r"(torch_|params_)?dtype|use_cache|use_bfloat16|_?attn_implementation(_\w+)?|_?experts_implementation",
            r"pretraining_tp|chunk_size_feed_forward|max_batch_size|tf_legacy_loss|_flash_attn_2_enabled",
            # training only: starting values, dropout, noise (also the router's) and losses
            r"initializer_\w+|\w+_dropout|\w+_pdrop|router_jitter_noise|\w+_loss_coef|gradient_checkpointing",
            # what is returned beside the logits; labels of other tasks
            r"output_\w+|return_dict(_in_generate)?|use_return_dict|id2label|label2id|num_labels|problem_type",
            # tokens and the defaults of generation, which the tokenizer and the caller decide
            r"\w+_token_ids?|suppress_tokens|begin_suppress_tokens|bad_words_ids|(max|min)_length|do_sample|num_beams",
            r"num_beam_groups|num_return_sequences|early_stopping|temperature|top_[kp]|typical_p|\w+_penalty",
            r"(encoder_)?no_repeat_ngram_size|remove_invalid_values",
        )
    )
)


class ConfigError(Mistake, ValueError):
    """A configuration that cannot be a Mixtral; the message names the value, what was expected and the file."""


def refuse_unknown(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> None:
    """Raises ConfigError for the first key that is neither known, nor bookkeeping, nor neutral (null, false, empty)."""
    for key, value in values.items():
        if key in known or _BOOKKEEPING.fullmatch(key) or is_neutral(value):
            continue
        shown = shown_value(value)
        shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
        raise ConfigError(
            f"{prefix}{key} is {shown}, which is not known here and could change the model's numbers; expected only "
            "what Mixtral has: if it changes nothing, take the key out of the file"
        )


def is_neutral(value: Any) -> bool:
    return value is None or value is False or (isinstance(value, (str, list, dict)) and not value)


def shown_value(value: Any) -> str:
    """A value of a JSON file as the file has it: null, true, "text"."""
    return json.dumps(value) if value is None or isinstance(value, bool) else repr(value)


def require(values: Mapping[str, Any], name: str, prefix: str = "") -> Any:
    if name not in values:
        raise ConfigError(f"{prefix}{name} is missing; expected it among Mixtral's sizes")
    return values[name]


def require_positive_int(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {shown_value(value)}; expected a whole number of at least 1")


def require_positive(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise ConfigError(f"{name} is {shown_value(value)}; expected a number above 0")
