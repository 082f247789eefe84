"""The one table of weight names, and how the forms of a checkpoint differ.

    name           ours, in the repacked form and in the reference: Mistral's names, one tensor per expert
    per expert     Mistral's later files: the same as ours
    consolidated   Mistral's consolidated.NN.pt: the experts of a layer stacked on rows, w2 transposed
    hf             Hugging Face's safetensors: one tensor per expert, rotary rows in half-split order
    hf fused       the same as transformers 5 holds it: a layer's experts in two tensors, w1 and w3 one below the other

A matrix of ours is [out, in]; its rotary rows (wq, wk) are in interleaved order. `{n}` stands for a layer, `{e}` for
an expert. Whoever reads, writes or checks weights does it by this table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.mistake import Mistake


class CheckpointError(Mistake):
    """A checkpoint that cannot be used; the message names the file or key, what was expected and what to do."""


class Form(Enum):
    """The forms in which Mixtral is published."""

    CONSOLIDATED = "consolidated"
    PER_EXPERT = "per expert"
    HF = "hf"
    HF_FUSED = "hf fused"


HF_FORMS = (Form.HF, Form.HF_FUSED)


@dataclass(frozen=True)
class Weight:
    name: str
    consolidated: str
    hf: str
    hf_fused: str
    shape: Callable[[MixtralConfig], tuple[int, ...]]
    rotary_heads: Callable[[MixtralConfig], int] | None = None  # number of heads whose rows turn in pairs
    transposed_in: Form | None = None  # the form that stores [in, out]; the repacked form keeps what its source has
    fused_half: int | None = None  # of two matrices that the fused form has in one tensor, the upper or the lower

    @property
    def is_per_expert(self) -> bool:
        """Where the consolidated and the fused form have one tensor, of all experts stacked."""
        return "{e}" in self.name

    def key(self, form: Form, n: int, e: int) -> str:
        keys = {
            Form.HF: self.hf,
            Form.HF_FUSED: self.hf_fused,
            Form.CONSOLIDATED: self.consolidated,
            Form.PER_EXPERT: self.name,
        }
        return keys[form].format(n=n, e=e)


def _same(name: str, hf: str, shape: Callable[[MixtralConfig], tuple[int, ...]], **more: Any) -> Weight:
    """A weight that both of Mistral's forms call alike, and both of Hugging Face's."""
    return Weight(name, name, hf, hf, shape, **more)


def _experts(w: str, fused: str, shape: Callable[[MixtralConfig], tuple[int, ...]], **more: Any) -> Weight:
    return Weight(
        f"layers.{{n}}.feed_forward.experts.{{e}}.{w}.weight",
        f"layers.{{n}}.block_sparse_moe.{w}",
        f"model.layers.{{n}}.block_sparse_moe.experts.{{e}}.{w}.weight",
        f"model.layers.{{n}}.mlp.experts.{fused}",
        shape,
        **more,
    )


GLOBAL_WEIGHTS = (
    _same("tok_embeddings.weight", "model.embed_tokens.weight", lambda c: (c.vocab_size, c.dim)),
    _same("norm.weight", "model.norm.weight", lambda c: (c.dim,)),
    _same("output.weight", "lm_head.weight", lambda c: (c.vocab_size, c.dim)),
)
LAYER_WEIGHTS = (
    _same("layers.{n}.attention_norm.weight", "model.layers.{n}.input_layernorm.weight", lambda c: (c.dim,)),
    _same(
        "layers.{n}.attention.wq.weight",
        "model.layers.{n}.self_attn.q_proj.weight",
        lambda c: (c.n_heads * c.head_dim, c.dim),
        rotary_heads=lambda c: c.n_heads,
    ),
    _same(
        "layers.{n}.attention.wk.weight",
        "model.layers.{n}.self_attn.k_proj.weight",
        lambda c: (c.n_kv_heads * c.head_dim, c.dim),
        rotary_heads=lambda c: c.n_kv_heads,
    ),
    _same(
        "layers.{n}.attention.wv.weight",
        "model.layers.{n}.self_attn.v_proj.weight",
        lambda c: (c.n_kv_heads * c.head_dim, c.dim),
    ),
    _same(
        "layers.{n}.attention.wo.weight",
        "model.layers.{n}.self_attn.o_proj.weight",
        lambda c: (c.dim, c.n_heads * c.head_dim),
    ),
    _same("layers.{n}.ffn_norm.weight", "model.layers.{n}.post_attention_layernorm.weight", lambda c: (c.dim,)),
    Weight(
        "layers.{n}.feed_forward.gate.weight",
        "layers.{n}.block_sparse_moe.gate.weight",
        "model.layers.{n}.block_sparse_moe.gate.weight",
        "model.layers.{n}.mlp.gate.weight",
        lambda c: (c.moe.num_experts, c.dim),
    ),
    _experts("w1", "gate_up_proj", lambda c: (c.hidden_dim, c.dim), fused_half=0),
    _experts("w2", "down_proj", lambda c: (c.dim, c.hidden_dim), transposed_in=Form.CONSOLIDATED),
    _experts("w3", "gate_up_proj", lambda c: (c.hidden_dim, c.dim), fused_half=1),
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


def source_shapes(config: MixtralConfig, form: Form) -> dict[str, tuple[int, ...]]:
    """Every key that a checkpoint of this form must have, and its shape."""
    shapes = {}
    for tensor in all_tensors(config):
        shape = tensor.weight.shape(config)
        if tensor.weight.transposed_in is form:
            shape = shape[::-1]
        if form is Form.CONSOLIDATED and tensor.weight.is_per_expert:
            shape = (shape[0] * config.moe.num_experts, *shape[1:])
        if form is Form.HF_FUSED and tensor.weight.is_per_expert:
            halves = 1 if tensor.weight.fused_half is None else 2
            shape = (config.moe.num_experts, halves * shape[0], *shape[1:])
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
    if form is Form.HF_FUSED and tensor.weight.is_per_expert:
        value = value[tensor.e]
        if tensor.weight.fused_half is not None:
            value = value.chunk(2)[tensor.weight.fused_half]
    if form in HF_FORMS and tensor.weight.rotary_heads is not None:
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
            if form is Form.HF_FUSED and weight.is_per_expert:
                halves = [half for half in LAYER_WEIGHTS if half.hf_fused == weight.hf_fused]
                if weight is halves[0]:
                    fused = [torch.cat([oriented(Placed(half, n, e)) for half in halves]) for e in experts]
                    yield weight.key(form, n, 0), torch.stack(fused)
                continue
            for e in experts:
                value = oriented(Placed(weight, n, e))
                if form in HF_FORMS and weight.rotary_heads is not None:
                    value = split_rotary_rows(value, weight.rotary_heads(config))
                yield weight.key(form, n, e), value


def interleave_rotary_rows(rows: Tensor, n_heads: int) -> Tensor:
    """Half-split to interleaved order: in a head of 6 rows, 0 1 2 3 4 5 become 0 3 1 4 2 5."""
    return rows.unflatten(0, (n_heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def split_rotary_rows(rows: Tensor, n_heads: int) -> Tensor:
    """Interleaved to half-split order, the inverse of interleave_rotary_rows: 0 3 1 4 2 5 become 0 1 2 3 4 5."""
    return rows.unflatten(0, (n_heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def listed(names: Iterable[str], most: int = 12) -> str:
    """Names in order, shortened: 'a, b, c and 40 more'."""
    ordered = sorted(names)
    tail = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(ordered[:most]) + tail
