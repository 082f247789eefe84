"""Which files of a folder or a repository are a checkpoint, told by their names and their index; and what is not one.

    model*.safetensors                    Hugging Face's; its index, where there is one, says which file counts
    consolidated.NN.pt, .pth              Mistral's first release: the experts of a layer stacked
    consolidated*.safetensors             Mistral's later files: one tensor per expert
    pytorch_model*.bin                    Hugging Face's, as torch saves it
    *.safetensors                         whatever else carries weights under another name

A repository often holds a model twice. The keys in the files tell the form (`keys.py`), not their names.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from models.mixtral8x7b.checkpoint.weights import CheckpointError, listed

HF_FIRST, MISTRAL_FIRST = ("config.json", "params.json"), ("params.json", "config.json")


@dataclass(frozen=True)
class Kind:
    """A way of naming weight files."""

    shown: str
    files: re.Pattern[str]
    index: re.Pattern[str]
    configs: tuple[str, ...]  # the first that is there describes these weights


KINDS = tuple(
    Kind(shown, re.compile(files), re.compile(index), configs)
    for shown, files, index, configs in (
        ("model*.safetensors", r"model.*\.safetensors", r"model\.safetensors\.index\.json", HF_FIRST),
        ("consolidated.*.pt", r"consolidated\..*\.pth?", r"consolidated\.pth?\.index\.json", MISTRAL_FIRST),
        (
            "consolidated*.safetensors",
            r"consolidated.*\.safetensors",
            r"consolidated\.safetensors\.index\.json",
            MISTRAL_FIRST,
        ),
        ("pytorch_model*.bin", r"pytorch_model.*\.bin", r"pytorch_model\.bin\.index\.json", HF_FIRST),
        ("*.safetensors", r".*\.safetensors", r".*\.safetensors\.index(\..+)?\.json", HF_FIRST),
    )
)
_SHARD = re.compile(r"(.*)-(\d+)-of-(\d+)(\.\w+)")
MOST_SHARDS = 1 << 12
_INSTEAD = (
    (r".*\.gguf", "holds GGUF files ({name}), which are made for llama.cpp and mostly quantised; fetch the original"),
    (
        r"adapter_(model|config)\..*",
        "holds a LoRA adapter ({name}); merge it into its base model first (PEFT: merge_and_unload) and save that",
    ),
    (r".*\.(npz|h5|msgpack|onnx|ot|bin|ggml|exl2|pt|pth)", "holds {name}, which is no form of Mixtral known here"),
)


@dataclass(frozen=True)
class Candidate:
    """Files that may be a whole checkpoint. Of one with an index, `resolve` finds out which."""

    kind: Kind
    files: tuple[str, ...]
    index: str | None = None
    where: Mapping[str, str] | None = None  # key -> file, as the index says

    @property
    def shown(self) -> str:
        """As in "19 x model*.safetensors"."""
        return f"{len(self.files)} x {self.kind.shown}"


def candidates(names: Collection[str], where: str) -> list[Candidate]:
    """What may be a checkpoint among files of these names, best first.

    Raises CheckpointError, which says what is there instead, if nothing looks like weights. `where` is for the message.
    """
    found: list[Candidate] = []
    left = {name for name in names if not name.startswith("adapter_")}
    for kind in KINDS:
        files, indexes = (tuple(sorted(filter(pattern.fullmatch, left))) for pattern in (kind.files, kind.index))
        left -= {*files, *indexes}
        if files or indexes:
            found.append(Candidate(kind, files, indexes[0] if indexes else None))
    if not found:
        raise CheckpointError(f"{where} {what_else(names) or 'has no weights'}; expected {_expected()}")
    return found


def resolve(
    candidate: Candidate, names: Collection[str], read: Callable[[str], Mapping[str, Any]], where: str
) -> Candidate:
    """The candidate with exactly the files that count: those of its index, which `read` gives by its name.

    Raises CheckpointError if one of them is not among the names.
    """
    if candidate.index is None:
        missing = {f"{at[1]}-{n:0{len(at[2])}}-of-{at[3]}{at[4]}" for at, n in _numbered(candidate)} - set(names)
    else:
        weight_map = read(candidate.index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map or not all(map(_is_name, weight_map.values())):
            raise CheckpointError(
                f"{candidate.index} in {where} has no weight_map; expected it to name the file of every key: fetch it "
                "again"
            )
        candidate = replace(candidate, files=tuple(sorted(set(weight_map.values()))), where=weight_map)
        missing = set(candidate.files) - set(names)
    if missing:
        raise CheckpointError(f"{where} misses {len(missing)} of its files: {listed(missing)}; fetch them")
    return candidate


def what_else(names: Collection[str]) -> str:
    """What files of these names are that hold no Mixtral known here, as the end of a sentence; empty if nothing is."""
    for pattern, sentence in _INSTEAD:
        if other := next(filter(re.compile(pattern).fullmatch, sorted(names)), None):
            return sentence.format(name=other)
    return ""


def configs_for(names: Collection[str]) -> tuple[str, ...]:
    """The order in which configurations describe the weights of these names."""
    return next((kind.configs for kind in KINDS if any(map(kind.files.fullmatch, names))), MISTRAL_FIRST)


def _numbered(candidate: Candidate) -> Iterator[tuple[re.Match[str], int]]:
    """Of files called x-00001-of-00019.y, with each the numbers 1 to 19."""
    for match in filter(None, map(_SHARD.fullmatch, candidate.files)):
        for n in range(1, min(int(match[3]), MOST_SHARDS) + 1):
            yield match, n


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and "/" not in value and not value.startswith(".")


def _expected() -> str:
    return " or ".join(kind.shown for kind in KINDS[:-1])
