"""What the keys of a checkpoint say: which form it is, under which prefix, and what it is instead of a Mixtral."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from models.mixtral8x7b.checkpoint.weights import HF_FORMS, CheckpointError, Form, listed, source_shapes
from models.mixtral8x7b.config import MixtralConfig

# What everybody computes anew from the configuration: it carries no information.
_BUFFERS = re.compile(r"(.*\.)?(rotary_emb\.(inv_freq|original_inv_freq|(cos|sin)_cached)|rope\.freqs)")
# Keys that no whole checkpoint has, and what they mean.
_INSTEAD = (
    (re.compile(r".*\b(lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector|base_layer|modules_to_save)\b.*"), "lora"),
    (
        re.compile(
            r".*\.(qweight|qzeros|scales|g_idx|SCB|weight_packed|weight_scale(_inv)?|(in|out)put_scale)|.*absmax.*"
        ),
        "quantised",
    ),
)
_SENTENCES = {
    "lora": "holds LoRA adapters ({key}); merge them into the weights first (PEFT: merge_and_unload) and save those",
    "quantised": "is quantised ({key}); expected bf16, fp16 or fp32 weights: fetch the original",
}
_EMBEDDINGS = {"model.embed_tokens.weight": "", "tok_embeddings.weight": "", "embed_tokens.weight": "model."}


@dataclass(frozen=True)
class Names:
    """The form of a checkpoint, and where each key of that form stands: under which key of its files."""

    form: Form
    stored_as: dict[str, str]


def understood(keys: Collection[str], config: MixtralConfig, where: str) -> Names:
    """Takes off a common prefix, passes over buffers, lets the embedding serve as a tied head.

    Raises CheckpointError for adapters and quantised weights, and with the list of keys that are missing or unknown.
    """
    for pattern, kind in _INSTEAD:
        if found := next(filter(pattern.fullmatch, sorted(keys)), None):
            raise CheckpointError(f"{where} {_SENTENCES[kind].format(key=found)}")
    stored_as = _without_prefix([key for key in keys if not _BUFFERS.fullmatch(key)], where)
    form = _form_of(stored_as)
    expected = source_shapes(config, form)
    head, embedding = _head_and_embedding(form)
    if config.tied_embeddings and head not in stored_as and embedding in stored_as:
        stored_as[head] = stored_as[embedding]
    check_keys(stored_as, expected, where)
    return Names(form, stored_as)


def check_keys(found: Iterable[str], expected: Iterable[str], where: str) -> None:
    """Raises CheckpointError with the list of keys that are missing or unknown."""
    found, expected = set(found), set(expected)
    for what, keys in (("misses", expected - found), ("has unknown", found - expected)):
        if keys:
            raise CheckpointError(
                f"{where} {what} {len(keys)} of its keys: {listed(keys)}; expected the {len(expected)} of the "
                "configuration: use weights and configuration of one model"
            )


def _without_prefix(keys: list[str], where: str) -> dict[str, str]:
    """By the name behind what wrappers put before all names (`base_model.model.`, `module.`), the key as it stands.

    A bare model, saved without its head, lacks the `model.` of Hugging Face's names.
    """
    for embedding, put_before in _EMBEDDINGS.items():
        prefixes = [key.removesuffix(embedding) for key in keys if key == embedding or key.endswith(f".{embedding}")]
        if not prefixes:
            continue
        if len(prefixes) > 1:
            shown = listed(prefix or "no prefix" for prefix in prefixes)
            raise CheckpointError(f"{where} holds {len(prefixes)} models ({shown}); expected one: keep the keys of one")
        names = {key: key.removeprefix(prefixes[0]) for key in keys}
        stored_as: dict[str, str] = {}
        for key, name in names.items():
            named = name if name == "lm_head.weight" else put_before + name
            if named in stored_as:
                raise CheckpointError(
                    f"{where} holds {stored_as[named]} and {key}; expected one of them: remove the other"
                )
            stored_as[named] = key
        return stored_as
    return {key: key for key in keys}


def _form_of(names: Collection[str]) -> Form:
    """The form whose names these are, by the first ones that only one form has."""
    if any(".mlp.experts." in name for name in names):
        return Form.HF_FUSED
    if any(name.startswith(("model.", "lm_head.")) for name in names):
        return Form.HF
    return Form.CONSOLIDATED if any("block_sparse_moe" in name for name in names) else Form.PER_EXPERT


def _head_and_embedding(form: Form) -> tuple[str, str]:
    if form in HF_FORMS:
        return "lm_head.weight", "model.embed_tokens.weight"
    return "output.weight", "tok_embeddings.weight"
