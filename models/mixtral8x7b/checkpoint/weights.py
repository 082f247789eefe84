"""The one table of weight names, and how the forms of a checkpoint differ.

    name           ours, in the repacked form and in the reference: Mistral's names, one tensor per expert
    per expert     Mistral's later files: the same as ours
    consolidated   Mistral's consolidated.NN.pt: the experts of a layer stacked on rows, w2 transposed
    hf             Hugging Face's safetensors: one tensor per expert, rotary rows in half-split order

A matrix of ours is [out, in]; its rotary rows (wq, wk) are in interleaved order. `{n}` stands for a layer, `{e}` for
an expert. Whoever reads, writes or checks weights does it by this table.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from models.mixtral8x7b.config import MixtralConfig


class CheckpointError(Exception):
    """A checkpoint that cannot be used; the message names the file or key, what was expected and what to do."""


class Form(Enum):
    """The forms in which Mixtral is published."""

    CONSOLIDATED = "consolidated"
    PER_EXPERT = "per expert"
    HF = "hf"


@dataclass(frozen=True)
class Weight:
    name: str
    consolidated: str
    hf: str
    shape: Callable[[MixtralConfig], tuple[int, ...]]
    rotary_heads: Callable[[MixtralConfig], int] | None = None  # number of heads whose rows turn in pairs
    transposed_in: Form | None = None  # the form that stores [in, out]; the repacked form keeps what its source has

    @property
    def is_per_expert(self) -> bool:
        """Where the consolidated form has one tensor, of all experts stacked."""
        return "{e}" in self.name

    def key(self, form: Form, n: int, e: int) -> str:
        keys = {Form.HF: self.hf, Form.CONSOLIDATED: self.consolidated, Form.PER_EXPERT: self.name}
        return keys[form].format(n=n, e=e)


def _experts(w: str, shape: Callable[[MixtralConfig], tuple[int, ...]], transposed_in: Form | None = None) -> Weight:
    return Weight(
        f"layers.{{n}}.feed_forward.experts.{{e}}.{w}.weight",
        f"layers.{{n}}.block_sparse_moe.{w}",
        f"model.layers.{{n}}.block_sparse_moe.experts.{{e}}.{w}.weight",
        shape,
        transposed_in=transposed_in,
    )


GLOBAL_WEIGHTS = (
    Weight(
        "tok_embeddings.weight", "tok_embeddings.weight", "model.embed_tokens.weight", lambda c: (c.vocab_size, c.dim)
    ),
    Weight("norm.weight", "norm.weight", "model.norm.weight", lambda c: (c.dim,)),
    Weight("output.weight", "output.weight", "lm_head.weight", lambda c: (c.vocab_size, c.dim)),
)
LAYER_WEIGHTS = (
    Weight(
        "layers.{n}.attention_norm.weight",
        "layers.{n}.attention_norm.weight",
        "model.layers.{n}.input_layernorm.weight",
        lambda c: (c.dim,),
    ),
    Weight(
        "layers.{n}.attention.wq.weight",
        "layers.{n}.attention.wq.weight",
        "model.layers.{n}.self_attn.q_proj.weight",
        lambda c: (c.n_heads * c.head_dim, c.dim),
        rotary_heads=lambda c: c.n_heads,
    ),
    Weight(
        "layers.{n}.attention.wk.weight",
        "layers.{n}.attention.wk.weight",
        "model.layers.{n}.self_attn.k_proj.weight",
        lambda c: (c.n_kv_heads * c.head_dim, c.dim),
        rotary_heads=lambda c: c.n_kv_heads,
    ),
    Weight(
        "layers.{n}.attention.wv.weight",
        "layers.{n}.attention.wv.weight",
        "model.layers.{n}.self_attn.v_proj.weight",
        lambda c: (c.n_kv_heads * c.head_dim, c.dim),
    ),
    Weight(
        "layers.{n}.attention.wo.weight",
        "layers.{n}.attention.wo.weight",
        "model.layers.{n}.self_attn.o_proj.weight",
        lambda c: (c.dim, c.n_heads * c.head_dim),
    ),
    Weight(
        "layers.{n}.ffn_norm.weight",
        "layers.{n}.ffn_norm.weight",
        "model.layers.{n}.post_attention_layernorm.weight",
        lambda c: (c.dim,),
    ),
    Weight(
        "layers.{n}.feed_forward.gate.weight",
        "layers.{n}.block_sparse_moe.gate.weight",
        "model.layers.{n}.block_sparse_moe.gate.weight",
        lambda c: (c.moe.num_experts, c.dim),
    ),
    _experts("w1", lambda c: (c.hidden_dim, c.dim)),
    _experts("w2", lambda c: (c.dim, c.hidden_dim), transposed_in=Form.CONSOLIDATED),
    _experts("w3", lambda c: (c.hidden_dim, c.dim)),
)


@dataclass(frozen=True)
class Placed:
    """One tensor of a model: its row of the table, its layer and its expert (0 where there is none)."""

    weight: Weight
    n: int = 0
    e: int = 0

    @property
    def name(self) -> str:
        return self.weight.name.format(n=self.n, e=self.e)

    def key(self, form: Form) -> str:
        return self.weight.key(form, self.n, self.e)


def global_tensors() -> list[Placed]:
    return [Placed(weight) for weight in GLOBAL_WEIGHTS]


def layer_tensors(config: MixtralConfig, n: int) -> list[Placed]:
    """The tensors of layer n, in the table's order, experts counted up."""
    return [
        Placed(weight, n, e)
        for weight in LAYER_WEIGHTS
        for e in range(config.moe.num_experts if weight.is_per_expert else 1)
    ]


def all_tensors(config: MixtralConfig) -> list[Placed]:
    return global_tensors() + [t for n in range(config.n_layers) for t in layer_tensors(config, n)]


def form_of(keys: Collection[str]) -> Form:
    """The form whose keys these are, by the first names that only one form has."""
    if any(key.startswith(("model.", "lm_head.")) for key in keys):
        return Form.HF
    return Form.CONSOLIDATED if any("block_sparse_moe" in key for key in keys) else Form.PER_EXPERT


def source_shapes(config: MixtralConfig, form: Form) -> dict[str, tuple[int, ...]]:
    """Every key that a checkpoint of this form must have, and its shape."""
    shapes = {}
    for tensor in all_tensors(config):
        shape = tensor.weight.shape(config)
        if tensor.weight.transposed_in is form:
            shape = shape[::-1]
        if form is Form.CONSOLIDATED and tensor.weight.is_per_expert:
            shape = (shape[0] * config.moe.num_experts, *shape[1:])
        shapes[tensor.key(form)] = shape
    return shapes


def take(tensor: Placed, form: Form, config: MixtralConfig, read: Callable[[str], Tensor]) -> Tensor:
    """One of our tensors out of a source: its expert's rows, interleaved rotary rows, orientation as in the source.

    `read` gives the source's tensor of a key; what is taken is a view of it wherever it can be.
    """
    value = read(tensor.key(form))
    if form is Form.CONSOLIDATED and tensor.weight.is_per_expert:
        rows = value.shape[0] // config.moe.num_experts
        value = value[tensor.e * rows : (tensor.e + 1) * rows]
    if form is Form.HF and tensor.weight.rotary_heads is not None:
        value = interleave_rotary_rows(value, tensor.weight.rotary_heads(config))
    return value


def export(form: Form, config: MixtralConfig, get: Callable[[str], Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The other direction: the keys and tensors of a source of this form, from ours ([out, in], by name)."""

    def oriented(tensor: Placed) -> Tensor:
        value = get(tensor.name)
        return value.T.contiguous() if tensor.weight.transposed_in is form else value

    for weight, layers in [(w, 1) for w in GLOBAL_WEIGHTS] + [(w, config.n_layers) for w in LAYER_WEIGHTS]:
        experts = range(config.moe.num_experts if weight.is_per_expert else 1)
        for n in range(layers):
            if form is Form.CONSOLIDATED and weight.is_per_expert:
                yield weight.key(form, n, 0), torch.cat([oriented(Placed(weight, n, e)) for e in experts])
                continue
            for e in experts:
                value = oriented(Placed(weight, n, e))
                if form is Form.HF and weight.rotary_heads is not None:
                    value = split_rotary_rows(value, weight.rotary_heads(config))
                yield weight.key(form, n, e), value


def interleave_rotary_rows(rows: Tensor, n_heads: int) -> Tensor:
    """Half-split to interleaved order: in a head of 6 rows, 0 1 2 3 4 5 become 0 3 1 4 2 5."""
    return rows.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def split_rotary_rows(rows: Tensor, n_heads: int) -> Tensor:
    """Interleaved to half-split order, the inverse of interleave_rotary_rows: 0 3 1 4 2 5 become 0 1 2 3 4 5."""
    return rows.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def check_keys(found: Iterable[str], expected: Iterable[str], where: str) -> None:
    """Raises CheckpointError with the list of keys that are missing or unknown."""
    found, expected = set(found), set(expected)
    for what, keys in (("misses", expected - found), ("has unknown", found - expected)):
        if keys:
            raise CheckpointError(f"{where} {what} {len(keys)} of its keys: {listed(keys)}")


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in order, shortened: 'a, b, c and 40 more'."""
    ordered = sorted(names)
    tail = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + tail
