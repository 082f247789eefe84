"""The forms in which people have the weights of a Mixtral, each with a function that writes it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from models.mixtral8x7b.checkpoint.weights import Form
from tests.checkpoint.published import Tensors, tensors, write, write_config, write_params

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
THETA = 10000.0


@dataclass(frozen=True)
class Row:
    """A line of docs/checkpoints.md: what it is called there, and what writes it to a folder.

    Its logits must be those of transformers for the usual sizes with `truth`, or it must be refused.
    """

    what: str
    make: Callable[[Path], object]
    truth: dict[str, Any] = field(default_factory=dict)
    is_refused: bool = False


def refused(what: str, make: Callable[[Path], object]) -> Row:
    return Row(what, make, is_refused=True)


def renamed(change: Callable[[str], str]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {change(key): value for key, value in tensors.items()}


def mistral(form: Form, name: str, is_old: bool = False) -> Callable[[Path], None]:
    """Mistral's files, as torch saves them."""

    def make(folder: Path) -> None:
        torch.save(tensors(form), folder / name, _use_new_zipfile_serialization=not is_old)
        write_params(folder, rope_theta=THETA)

    return make


def per_expert(folder: Path) -> None:
    save_file(tensors(Form.PER_EXPERT), folder / "consolidated.safetensors")
    write_params(folder, rope_theta=THETA)


def bin_files(folder: Path) -> None:
    both = list(tensors(Form.HF).items())
    names = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]
    where = {}
    for part, name in enumerate(names):
        torch.save(dict(both[part::2]), folder / name)
        where |= dict.fromkeys(dict(both[part::2]), name)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    write_config(folder)


def overlay(folder: Path) -> None:
    """A small file that the index names for one tensor, which still stands, wrong, in the big one."""
    name = "model.norm.weight"
    write(folder, lambda t: t | {name: t[name] * 3}, name="model-00001-of-00001.safetensors")
    save_file({name: tensors(Form.HF)[name]}, folder / "repaired.safetensors")
    where = dict.fromkeys(tensors(Form.HF), "model-00001-of-00001.safetensors") | {name: "repaired.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))


def shards_gone(folder: Path) -> None:
    write(folder, name="model-00001-of-00003.safetensors")


def two_configurations(folder: Path) -> None:
    write(folder)
    write_params(folder, rope_theta=1e6)


def both_forms_disagreeing(folder: Path) -> None:
    per_expert(folder)
    write_config(folder, max_position_embeddings=77, vocab_size=97)


def pointer_beside_weights(folder: Path) -> None:
    write(folder)
    (folder / "consolidated.00.pt").write_text(POINTER)
    write_params(folder)


def weights_beside_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text(POINTER)
    write_config(folder)
    per_expert(folder)


def pointers(folder: Path) -> None:
    write_config(folder)
    (folder / "model.safetensors").write_text(POINTER)


def pointer_config(folder: Path) -> None:
    write(folder)
    (folder / "config.json").write_text(POINTER)


def gguf(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "mixtral"}')
    (folder / "mixtral.Q4_K_M.gguf").write_bytes(b"GGUF")


def adapter(folder: Path) -> None:
    save_file({"base_model.model.lm_head.lora_A.weight": torch.ones(2, 2)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")


def lora(t: Tensors) -> Tensors:
    name = "model.layers.0.self_attn.q_proj"
    weight = t.pop(f"{name}.weight")
    return t | {f"{name}.base_layer.weight": weight, f"{name}.lora_A.default.weight": torch.ones(8, 32)}


def awq_keys(t: Tensors) -> Tensors:
    name = "model.layers.0.self_attn.q_proj"
    t.pop(f"{name}.weight")
    return t | {f"{name}.qweight": torch.ones(2, 2, dtype=torch.int32), f"{name}.scales": torch.ones(2)}


def fp8(t: Tensors) -> Tensors:
    return t | {"lm_head.weight": t["lm_head.weight"].to(torch.float8_e4m3fn)}


def params_in_config(folder: Path) -> None:
    save_file(tensors(Form.PER_EXPERT), folder / "consolidated.safetensors")
    write_params(folder, "config.json", rope_theta=THETA)


def encoded(encoding: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        write(folder)
        text = (folder / "config.json").read_text()
        (folder / "config.json").write_bytes(text.encode(encoding))

    return make


def tied_without_head(is_bare: bool) -> Callable[[Path], None]:
    def change(t: Tensors) -> Tensors:
        t.pop("lm_head.weight")
        return renamed(lambda key: key.removeprefix("model."))(t) if is_bare else t

    return lambda folder: write(folder, change, {"tie_word_embeddings": True})


def nested(folder: Path) -> None:
    torch.save({"model": tensors(Form.HF)}, folder / "pytorch_model.bin")
    write_config(folder)


def not_finite(t: Tensors) -> Tensors:
    return t | {"model.norm.weight": torch.ones(32).index_fill(0, torch.tensor([7]), float("-inf"))}


def with_buffer(t: Tensors) -> Tensors:
    return t | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)}


def with_bias(t: Tensors) -> Tensors:
    return t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}


def with_one_twice(t: Tensors) -> Tensors:
    return behind("module.")(t) | {"model.norm.weight": torch.ones(32)}


def twice(t: Tensors) -> Tensors:
    return behind("teacher.")(t) | {f"student.{key}": value.clone() for key, value in t.items()}


def without_head(t: Tensors) -> Tensors:
    return {key: value for key, value in t.items() if key != "lm_head.weight"}


def without_a_layer(t: Tensors) -> Tensors:
    return {key: value for key, value in t.items() if "layers.1." not in key}


def behind(prefix: str) -> Callable[[Tensors], Tensors]:
    return renamed(lambda key: f"{prefix}{key}")


TIED = {"tie_word_embeddings": True}
FORMS = [
    Row("HF, one tensor per expert: `model*.safetensors`", write),
    Row("HF, experts fused, as transformers 5 holds them", lambda f: write(f, form=Form.HF_FUSED)),
    Row("HF as torch saves it: `pytorch_model*.bin`", bin_files),
    Row("Mistral's first release: `consolidated.00.pth`", mistral(Form.CONSOLIDATED, "consolidated.00.pth")),
    Row("Mistral's `consolidated.NN.pt`, experts stacked", mistral(Form.CONSOLIDATED, "consolidated.00.pt")),
    Row("the same in torch's old format", mistral(Form.CONSOLIDATED, "consolidated.00.pt", is_old=True)),
    Row("Mistral's later files: `consolidated.safetensors`, one tensor per expert", per_expert),
    Row("one tensor per expert in a `.pt`", mistral(Form.PER_EXPERT, "consolidated.00.pt")),
    Row("another file name: `mixtral.safetensors`", lambda f: write(f, name="mixtral.safetensors")),
    Row("an index that takes a tensor from an overlay", overlay),
    Row("keys behind a wrapper's prefix (`base_model.model.`)", lambda f: write(f, behind("base_model.model."))),
    Row("keys behind `module.`, fused", lambda f: write(f, behind("module."), form=Form.HF_FUSED)),
    Row("keys behind `_orig_mod.`, Mistral's", lambda f: write(f, behind("_orig_mod."), form=Form.PER_EXPERT)),
    Row("buffers of the rotary embedding among the keys", lambda f: write(f, with_buffer)),
    Row("tied embeddings, no `lm_head.weight`", tied_without_head(is_bare=False), TIED),
    Row("the same, saved without `model.`", tied_without_head(is_bare=True), TIED),
    Row("whole weights beside a Git LFS pointer of the other form", pointer_beside_weights),
    Row("the other way round", weights_beside_pointer),
    Row("HF's weights beside a params.json that disagrees", two_configurations),
    Row("Mistral's weights beside a config.json that disagrees", both_forms_disagreeing),
    Row("Mistral's keys in a file called config.json", params_in_config),
    Row("config.json with a byte order mark", encoded("utf-8-sig")),
    Row("config.json in UTF-16, as PowerShell writes it", encoded("utf-16")),
    refused("no weights", write_config),
    refused("some shards gone, and no index", shards_gone),
    refused("Git LFS pointers", pointers),
    refused("a Git LFS pointer for config.json", pointer_config),
    refused("GGUF", gguf),
    refused("a LoRA adapter alone", adapter),
    refused("LoRA that was never merged", lambda f: write(f, lora)),
    refused("quantised, by its keys", lambda f: write(f, awq_keys)),
    refused("fp8 weights", lambda f: write(f, fp8)),
    refused("numbers that overflowed when they were saved", lambda f: write(f, not_finite)),
    refused("a dictionary within a dictionary", nested),
    refused("a bias that Mixtral has not", lambda f: write(f, with_bias)),
    refused("a key with and without a wrapper's prefix", lambda f: write(f, with_one_twice)),
    refused("two models in one file", lambda f: write(f, twice)),
    refused("no lm_head.weight where the embeddings are not tied", lambda f: write(f, without_head)),
    refused("a layer gone", lambda f: write(f, without_a_layer)),
]
