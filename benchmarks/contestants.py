"""The same weights in the CPU target, the reference and Hugging Face's transformers, each with a prefill and a step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from transformers import MixtralConfig as HFConfig
from transformers import MixtralForCausalLM

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.weights import Form, export
from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.paging import Prompt, blocks_for
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.model import Transformer
from models.mixtral8x7b.sampling import GREEDY
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights

CHIPS = 8


def random_ids(config: MixtralConfig, *shape: int) -> torch.Tensor:
    """So that tokens go to different experts."""
    return torch.randint(3, config.vocab_size, shape, generator=torch.Generator().manual_seed(0))


class Contestant(Protocol):
    name: str

    def prefill(self, ids: list[int]) -> int:
        """The most likely token after a prompt."""

    def start(self, batch: int, context: int) -> None:
        """From here on a step decodes `batch` users, after prompts of `context` tokens each."""

    def step(self) -> list[int]:
        """The next token of every user, the most likely one."""


class CpuTarget:
    """The ttnn model on 8 chips of ttnn_cpu; its step is recorded."""

    name = "cpu target, 8 chips"

    def __init__(self, model: Mixtral, decode_context: int) -> None:
        self._model, self._blocks = model, blocks_for(decode_context)
        self._step = TracedStep(model.mesh, model.step)

    @classmethod
    @contextmanager
    def opened(cls, checkpoint: RepackedCheckpoint, max_context: int, decode_context: int) -> Iterator["CpuTarget"]:
        """One user may have max_context positions, 32 users decode_context each."""
        with open_mesh(CHIPS) as mesh:
            weights = CheckpointWeights(checkpoint, mesh, folder=None)
            n_blocks = max(DECODE_ROWS * blocks_for(decode_context), blocks_for(max_context))
            yield cls(Mixtral(weights, mesh, PERFORMANCE, n_blocks, max_context), decode_context)

    def prefill(self, ids: list[int]) -> int:
        return self._first_tokens([Prompt(0, ids, list(range(blocks_for(len(ids)))))])[0]

    def start(self, batch: int, context: int) -> None:
        self._batch, unused = batch, DECODE_ROWS - batch
        blocks = [list(range(row * self._blocks, (row + 1) * self._blocks)) for row in range(batch)]
        ids = random_ids(self._model.config, batch, context).tolist()
        tokens = self._first_tokens([Prompt(row, *of_row) for row, of_row in enumerate(zip(ids, blocks, strict=True))])
        self._model.state.set_rows(tokens[:batch] + [0] * unused, [context] * batch + [NO_USER] * unused)
        self._model.state.set_blocks(blocks + [[]] * unused)

    def step(self) -> list[int]:
        self._step()
        return self._model.state.read_tokens()[: self._batch]

    def _first_tokens(self, prompts: list[Prompt]) -> list[int]:
        self._step.release()
        self._model.sampler.set([GREEDY] * DECODE_ROWS)
        return self._model.sample(self._model.prefill(prompts))


class Reference:
    name = "reference, float32"

    def __init__(self, model: Transformer) -> None:
        self._model = model

    @torch.no_grad()
    def prefill(self, ids: list[int]) -> int:
        return int(self._model(torch.tensor([ids]))[0, -1].argmax())

    @torch.no_grad()
    def start(self, batch: int, context: int) -> None:
        self._cache = KVCache()
        self._tokens = self._model(random_ids(self._model.config, batch, context), self._cache)[:, -1:].argmax(-1)

    @torch.no_grad()
    def step(self) -> list[int]:
        self._tokens = self._model(self._tokens, self._cache).argmax(-1)
        return self._tokens.flatten().tolist()


class HuggingFace:
    """transformers with eager attention, and experts as it runs them where nothing is said."""

    def __init__(self, model: Transformer, dtype: torch.dtype) -> None:
        self.name = f"transformers, {str(dtype).removeprefix('torch.')}"
        self._config = model.config
        weights = dict(export(Form.HF_FUSED, model.config, model.state_dict().__getitem__))
        self._model = MixtralForCausalLM._from_config(_hf(model.config), dtype=dtype, attn_implementation="eager")
        self._model.load_state_dict(weights)
        self._model.eval()

    @torch.no_grad()
    def prefill(self, ids: list[int]) -> int:
        return int(self._model(torch.tensor([ids]), logits_to_keep=1).logits[0, -1].argmax())

    @torch.no_grad()
    def start(self, batch: int, context: int) -> None:
        made = self._model(random_ids(self._config, batch, context), use_cache=True, logits_to_keep=1)
        self._cache, self._tokens = made.past_key_values, made.logits.argmax(-1)

    @torch.no_grad()
    def step(self) -> list[int]:
        logits = self._model(self._tokens, past_key_values=self._cache, use_cache=True).logits
        self._tokens = logits.argmax(-1)
        return self._tokens.flatten().tolist()


def _hf(config: MixtralConfig) -> HFConfig:
    return HFConfig(
        hidden_size=config.dim,
        intermediate_size=config.hidden_dim,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.head_dim,
        vocab_size=config.vocab_size,
        rms_norm_eps=config.norm_eps,
        num_local_experts=config.moe.num_experts,
        num_experts_per_tok=config.moe.num_experts_per_tok,
        max_position_embeddings=config.max_seq_len,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )
