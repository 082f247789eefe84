"""Mixtral as vllm-tt-plugin calls a model: all but decode_forward, of which there are two kinds (contracts.py).

    model = CommandedMixtral.initialize_vllm_model(hf_config, mesh_device, 32, max_seq_len=16384)
    cache = model.allocate_kv_cache((n_blocks, 1, 64, 128), torch.bfloat16, 32)
    model.prefill_forward(tokens, page_table, cache, True, prompt_lens, start_pos, sampling_params)
    model.decode_forward(tokens, page_table, cache, start_pos, True, False, sampling_params, ...)

The plugin has the requests, the KV blocks and the prefix cache; this has the arithmetic.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.config import ConfigError, MixtralConfig
from models.mixtral8x7b.host_rows import chip_params, needs_host
from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, NEVER
from models.mixtral8x7b.tt.loading import load
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import Mesh, check_split
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import preset
from models.mixtral8x7b.tt.traced_step import TracedStep
from models.mixtral8x7b.tt.warm_up import warm_up
from models.mixtral8x7b.vllm.rows import Rows
from models.mixtral8x7b.vllm.sampling import Asked, drawn_on_host, row_params

# Blocks that vLLM does not know of, one for each prompt of a prefill: what a prefix hit covers of the START_UNIT in
# which it ends is computed again, and goes there, so that the blocks that others share stay as they are.
SPARE_BLOCKS = DECODE_ROWS
OPTIMIZATIONS = ("performance", "accuracy")  # what vLLM's option may be: two of our presets

Drawn = torch.Tensor | tuple[torch.Tensor, torch.Tensor]  # ids int32 [B], and where asked for their log-probabilities


class VllmMixtral(torch.nn.Module):
    """`build` makes the model with so many KV blocks, when vLLM has said how many;
    ids from n_tokens on are never drawn."""

    # Penalties are drawn on the host: a plugin that asks has vLLM's own sampler do it.
    model_capabilities = {  # noqa: RUF012, the plugin reads it of the class
        "supports_prefix_caching": True,
        "supports_sample_on_device": True,
        "supports_async_decode": True,
        "supports_device_penalties": False,
    }

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

    # ---------------------------------------------------------------- building

    @classmethod
    def initialize_vllm_model(
        cls,
        hf_config: Any,
        mesh_device: ttnn.MeshDevice,
        max_batch_size: int,
        max_seq_len: int,
        tt_data_parallel: int = 1,
        optimizations: str | None = None,
    ) -> "VllmMixtral":
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

    # ---------------------------------------------------------------- warm-ups

    def warmup_model_prefill(self, kv_cache: KVCache, enable_trace: bool, can_sample_on_device: bool) -> None:
        """Builds every program, those of decode too; a prefill is never recorded."""
        if not self._is_warm:
            warm_up(self._model)
            self._is_warm = True

    def warmup_model_decode(
        self, kv_cache: KVCache, enable_trace: bool, max_batch_size: int, num_blocks: int, can_sample_on_device: bool
    ) -> None:
        """Records the step, which lives on from then."""
        self.warmup_model_prefill(kv_cache, enable_trace, can_sample_on_device)
        if enable_trace:
            self._traced.record()

    # ---------------------------------------------------------------- prefill

    def prefill_forward(
        self,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: KVCache,
        enable_trace: bool,
        prompt_lens: Sequence[int],
        start_pos: Sequence[int] | torch.Tensor,
        sampling_params: Asked | None = None,
        empty_slots: Sequence[int] | None = None,
    ) -> Drawn:
        """Positions start_pos .. prompt_lens of each row of tokens, int32 [B, longest]; page_table [B, blocks].

        Float32 logits [B, 1, vocab] of the last ones, or with sampling_params the tokens behind them. empty_slots say
        nothing here: no state of a request stands on the chips but its KV blocks.
        """
        model = self._model
        prompts = self._prompts(tokens, page_table, [int(end) for end in prompt_lens], [int(at) for at in start_pos])
        passes = model.passes(prompts)
        if not self._is_warm:
            self._traced.release()  # a pass may build programs
        if sampling_params is None:
            logits = torch.empty(len(prompts), 1, self._config.vocab_size)
            for of in passes:
                found = self._only_tokens(model.read_logits(model.prefill_pass(of)))
                for row in _ending(of.pieces):
                    logits[row, 0] = found[row]
            return logits
        asked = [row_params(sampling_params, row, self._config.vocab_size) for row in range(len(prompts))]
        filling = [chip_params(asked[0])] * (DECODE_ROWS - len(asked))
        lengths = [len(prompt.ids) for prompt in prompts]
        model.sampler.set(
            [*map(chip_params, asked), *filling], [*lengths, *[0] * len(filling)]
        )  # a token's index is its position
        ids, logprobs = torch.zeros(len(prompts), dtype=torch.int32), torch.zeros(len(prompts))
        for of in passes:
            passed = model.prefill_pass(of)
            on_host = [row for row in _ending(of.pieces) if needs_host(asked[row])]
            read = self._only_tokens(model.copy_logits(passed)) if on_host else torch.empty(0)
            sampled = model.sample(passed)
            for row in _ending(of.pieces):
                ids[row] = sampled[row]
            for row in on_host:
                drawn = drawn_on_host(asked[row], read[row], lengths[row], prompts[row].ids, ())
                ids[row], logprobs[row] = drawn.token, drawn.logprob or 0.0
        self._rows.send_sampling()
        return (ids, logprobs) if any(row.logprobs is not None for row in asked) else ids

    def _prompts(
        self, tokens: torch.Tensor, page_table: torch.Tensor, ends: Sequence[int], starts: Sequence[int]
    ) -> list[Prompt]:
        """Each in the row of its number; passes start at multiples of START_UNIT."""
        if len(ends) > DECODE_ROWS:
            raise RequestError(f"{len(ends)} prompts come together; expected at most {DECODE_ROWS}")
        prompts = []
        for row, (end, start) in enumerate(zip(ends, starts, strict=True)):
            begin = min(start, end - 1) // START_UNIT * START_UNIT
            blocks = page_table[row, : blocks_for(end)].tolist()
            if begin < start and start - begin >= KV_BLOCK:
                blocks[begin // KV_BLOCK] = self._first_spare + row
            prompts.append(Prompt(row, tokens[row, :end].tolist(), blocks, begin))
        return prompts

    # ---------------------------------------------------------------- decode

    def _reload(self, tokens: torch.Tensor, start_pos: torch.Tensor, page_table: torch.Tensor) -> None:
        self._rows.set_inputs(tokens, start_pos)
        self._rows.set_blocks(page_table)

    def _ask(self, sampling_params: Asked) -> None:
        vocab_size = self._config.vocab_size
        self._rows.set_sampling([row_params(sampling_params, row, vocab_size) for row in range(self._max_batch)])

    def _move(self, slot_remap: torch.Tensor | Sequence[int] | None) -> None:
        if slot_remap is None:
            return
        remap = [int(slot) for slot in slot_remap]
        if sorted(remap) != list(range(self._max_batch)):
            raise RequestError(f"slot_remap is {remap}; expected a permutation of 0 to {self._max_batch - 1}")
        self._rows.move(remap)

    def _logits(self) -> torch.Tensor:
        """Of the rows' tokens, float32 [max_batch, 1, vocab], for the host to draw from. Read at once: nothing can go
        on before it has."""
        model = self._model
        logits = self._only_tokens(model.read_logits(model.decode_logits()))
        self._rows.resident = False
        return logits[: self._max_batch, None]

    def _step(
        self,
        enable_trace: bool,
        read_from_device: bool,
        prompt_tokens: torch.Tensor | None,
        output_tokens: torch.Tensor | None,
    ) -> ttnn.Tensor | Drawn:
        """One token of every row, which the next step feeds; started, and only waited for where the host draws."""
        model, rows = self._model, self._rows
        used = [row for row, position in enumerate(rows.positions) if position != NO_USER]
        on_host = [row for row in used if needs_host(rows.sampling[row])]
        if on_host:
            return self._step_with_host(on_host, prompt_tokens, output_tokens)
        if enable_trace:
            self._traced()
        else:
            model.step()
        rows.advance()
        ids = ttnn.get_device_tensors(model.state.tokens)[0]
        return self.process_decode_output_host(ids, is_tokens=True) if read_from_device else ids

    def _step_with_host(
        self, on_host: Sequence[int], prompt_tokens: torch.Tensor | None, output_tokens: torch.Tensor | None
    ) -> Drawn:
        model, rows = self._model, self._rows
        read: list[torch.Tensor] = []
        model.step(take_logits=read.append)
        logits = self._only_tokens(read[0])
        ids, logprobs = model.state.read_tokens(), torch.zeros(self._max_batch)
        for row in on_host:
            position = rows.positions[row] + 1
            history = [_ids_of(tokens, row) for tokens in (prompt_tokens, output_tokens)]
            drawn = drawn_on_host(rows.sampling[row], logits[row], position, *history)
            ids[row], logprobs[row] = drawn.token, drawn.logprob or 0.0
        model.state.set_tokens(ids)
        rows.advance()
        tokens = torch.tensor(ids[: self._max_batch], dtype=torch.int32)
        return (tokens, logprobs) if any(rows.sampling[row].logprobs is not None for row in on_host) else tokens

    def _only_tokens(self, logits: torch.Tensor) -> torch.Tensor:
        """[.., vocab], in which no id wins that the tokenizer does not have."""
        logits[..., self._model.n_tokens :] = NEVER
        return logits

    def read_decode_output(self, tt_out: Any, async_read: bool = False) -> Any:
        """What decode_forward gave, on its way to the host, and the events to wait for; without async_read it
        alone, arrived. What is on the host already stays as it is."""
        if not isinstance(tt_out, ttnn.Tensor):
            return (tt_out, []) if async_read else tt_out
        host, event = self._mesh.begin_read(tt_out)
        if async_read:
            return host, [event]
        ttnn.event_synchronize(event)
        return host

    def process_decode_output_host(self, tt_out: Any, is_tokens: bool) -> Any:
        """Ids int32 [max_batch]; what is on the host already stays as it is."""
        if not isinstance(tt_out, ttnn.Tensor):
            return tt_out
        return ttnn.to_torch(tt_out).flatten()[: self._max_batch].to(torch.int32)

    # ---------------------------------------------------------------- what vLLM looks for in a class, and never calls

    def embed_input_ids(self, input_ids: torch.Tensor) -> torch.Tensor:
        raise _not_called("embed_input_ids")

    def forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        raise _not_called("forward")

    def compute_logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        raise _not_called("compute_logits")


def _ending(pieces: Sequence[Any]) -> list[int]:
    """Rows of the prompts that end in a pass."""
    return [piece.prompt.row for piece in pieces if piece.ends_prompt]


def _ids_of(tokens: torch.Tensor | None, row: int) -> list[int]:
    """Of a row that is filled with -1."""
    return [] if tokens is None else [token for token in tokens[row].tolist() if token >= 0]


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
