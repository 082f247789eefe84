"""How vLLM makes the model: of its options, its KV blocks, and the checkpoint that MIXTRAL_CKPT_DIR names."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
import ttnn

from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.paging import KV_BLOCK, blocks_for
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS
from models.mixtral8x7b.tt.loading import load
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import Mesh, check_split
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.vllm.rows import Rows

# Blocks that vLLM does not know of, one for each prompt of a prefill: what a prefix hit covers of the START_UNIT in
# which it ends is computed again, and goes there, so that the blocks that others share stay as they are.
SPARE_BLOCKS = DECODE_ROWS
OPTIMIZATIONS = ("performance", "accuracy")  # what vLLM's option may be: two of our presets

Built = TypeVar("Built", bound="VllmBuilt")


class VllmBuilt(torch.nn.Module):
    """`build` makes the model with so many KV blocks, when vLLM has said how many;
    ids from n_tokens on are never drawn."""

    def __init__(
        self,
        build: Callable[[int], Mixtral] | None = None,
        config: MixtralConfig | None = None,
        mesh: Mesh | None = None,
        max_batch_size: int = DECODE_ROWS,
        *,
        vllm_config: object = None,
        prefix: str = "",
    ) -> None:
        """vllm_config and prefix are what vLLM looks for in a class, and never gives to this one."""
        super().__init__()
        if build is None or config is None or mesh is None:
            raise ConfigError("a model for vLLM has to be made by initialize_vllm_model")
        self._build, self._config, self._mesh, self._max_batch = build, config, mesh, max_batch_size
        self._built: Mixtral | None = None

    @classmethod
    def initialize_vllm_model(
        cls: type[Built],
        hf_config: Any,
        mesh_device: ttnn.MeshDevice,
        max_batch_size: int,
        max_seq_len: int,
        tt_data_parallel: int = 1,
        optimizations: str | None = None,
    ) -> Built:
        """The checkpoint is the one that MIXTRAL_CKPT_DIR names; hf_config, vLLM's own, must be of the same sizes.

        Its weights are loaded by allocate_kv_cache. Raises ConfigError and what opening a checkpoint raises.
        """
        if tt_data_parallel != 1:
            raise ConfigError(f"tt_data_parallel is {tt_data_parallel}; expected 1: start vLLM once for each machine")
        if not 1 <= max_batch_size <= DECODE_ROWS:
            raise ConfigError(f"max_num_seqs is {max_batch_size}; expected 1 to {DECODE_ROWS}")
        rows, n_chips = tuple(mesh_device.shape)
        if rows != 1:
            raise ConfigError(f"the mesh is {rows} x {n_chips} chips; expected one row: set MESH_DEVICE=T3K")
        settings = Settings.from_environment()
        checkpoint, cache = open_checkpoint(settings, None)
        config = checkpoint.config
        _check_is_the_same(hf_config, config)
        config.check_context(max_seq_len)
        check_split(config, n_chips)
        mesh, precision = Mesh(mesh_device), preset(optimizations or OPTIMIZATIONS[0])
        n_tokens = Tokenizer(settings.tokenizer or checkpoint.directory).vocab_size

        def build(n_blocks: int) -> Mixtral:
            return load(checkpoint, cache, precision, mesh, n_blocks, max_seq_len, n_tokens)

        return cls(build, config, mesh, max_batch_size)

    @classmethod
    def get_max_tokens_all_users(
        cls, model_name: str, num_devices: int, tt_data_parallel: int, max_model_len: int, max_num_seqs: int
    ) -> int:
        """Of KV cache that fits beside the weights, in either precision; no more than all users can fill.

        The plugin adds a block for each user, for which room is left here.
        """
        config = open_checkpoint(Settings.from_environment(), None)[0].config
        fitting = min(
            plan(config, preset(name), num_devices, blocks_for(max_model_len), max_model_len).max_blocks
            for name in OPTIMIZATIONS
        )
        room = fitting - SPARE_BLOCKS - max_num_seqs
        return min(room, max_num_seqs * blocks_for(max_model_len)) * KV_BLOCK

    def allocate_kv_cache(self, shape: Sequence[int], dtype: object, num_layers: int) -> KVCache:
        """shape: vLLM's blocks, KV heads of a chip, positions of a block, width of a head. dtype is vLLM's: ours is
        the precision's. Loads the model. Raises ConfigError for another model's shape."""
        n_blocks, heads, block, head_dim = shape
        if block != KV_BLOCK:
            raise ConfigError(f"vLLM's KV blocks have {block} positions; expected {KV_BLOCK}: set --block-size 64")
        config = self._config
        expected = (config.n_kv_heads // self._mesh.n_devices, config.head_dim, config.n_layers)
        if (heads, head_dim, num_layers) != expected:
            raise ConfigError(
                f"vLLM's KV cache has {heads} heads of {head_dim} on a chip in {num_layers} layers; the checkpoint's "
                f"has {expected[0]} of {expected[1]} in {expected[2]}: start vLLM with the same model"
            )
        self._built = model = self._build(n_blocks + SPARE_BLOCKS)
        self._rows, self._traced, self._is_warm = Rows(model), TracedStep(self._mesh, model.step), False
        self._first_spare = model.cache.n_blocks - SPARE_BLOCKS
        return model.cache

    @property
    def _model(self) -> Mixtral:
        if self._built is None:
            raise ConfigError("the model has no KV cache yet; allocate_kv_cache has to come first")
        return self._built

    # ---------------------------------------------------------------- what vLLM looks for in a class, and never calls

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise _not_called("embed_input_ids")

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        raise _not_called("forward")

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        raise _not_called("compute_logits")


def _check_is_the_same(hf_config: Any, config: MixtralConfig) -> None:
    ours = {"vocab_size": config.vocab_size, "hidden_size": config.dim, "num_hidden_layers": config.n_layers}
    for name, value in ours.items():
        theirs = getattr(hf_config, name, None)
        if theirs != value:
            raise ConfigError(
                f"vLLM's model has {name} {theirs}, the checkpoint {value}; set MIXTRAL_CKPT_DIR to the same model, "
                "repacked"
            )


def _not_called(name: str) -> NotImplementedError:
    return NotImplementedError(f"{name}: the plugin calls prefill_forward and decode_forward")
