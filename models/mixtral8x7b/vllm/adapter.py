"""Mixtral as vllm-tt-plugin calls a model: all but decode_forward, of which there are two kinds (contracts.py).

    model = CommandedMixtral.initialize_vllm_model(hf_config, mesh_device, 32, max_seq_len=16384)
    cache = model.allocate_kv_cache((n_blocks, 1, 64, 128), torch.bfloat16, 32)
    model.prefill_forward(tokens, page_table, cache, True, prompt_lens, start_pos, sampling_params)
    model.decode_forward(tokens, page_table, cache, start_pos, True, False, sampling_params, ...)

The plugin has the requests, the KV blocks and the prefix cache; this has the arithmetic.
"""

from collections.abc import Sequence
from typing import Any

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.host_rows import chip_params, needs_host
from models.mixtral8x7b.packing import START_UNIT
from models.mixtral8x7b.paging import KV_BLOCK, Prompt, blocks_for
from models.mixtral8x7b.tt.decode_state import NO_USER
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, NEVER
from models.mixtral8x7b.tt.warm_up import warm_up
from models.mixtral8x7b.vllm.building import VllmBuilt
from models.mixtral8x7b.vllm.sampling import Asked, drawn_on_host, row_params

Drawn = torch.Tensor | tuple[torch.Tensor, torch.Tensor]  # ids int32 [B], and where asked for their log-probabilities


class VllmMixtral(VllmBuilt):
    """What vLLM asks of it once it is there."""

    # Penalties are drawn on the host: a plugin that asks has vLLM's own sampler do it.
    model_capabilities = {  # noqa: RUF012, the plugin reads it of the class
        "supports_prefix_caching": True,
        "supports_sample_on_device": True,
        "supports_async_decode": True,
        "supports_device_penalties": False,
    }

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


def _ending(pieces: Sequence[Any]) -> list[int]:
    """Rows of the prompts that end in a pass."""
    return [piece.prompt.row for piece in pieces if piece.ends_prompt]


def _ids_of(tokens: torch.Tensor | None, row: int) -> list[int]:
    """Of a row that is filled with -1."""
    return [] if tokens is None else [token for token in tokens[row].tolist() if token >= 0]
