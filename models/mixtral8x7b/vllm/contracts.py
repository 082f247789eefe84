"""How a decode call says what of its inputs counts: the two ways in which vllm-tt-plugin has done it.

`tokens`, `start_pos` and `page_table` are int32 [max_batch, 1], [max_batch] and [max_batch, blocks of a request]; a row
without a user has position -1. What is given back are the tokens that were drawn, on the chips as ttnn's or, with
read_from_device and where the host had to draw, as torch's, int32 [max_batch], with log-probabilities where they are
asked for; or without sampling_params the logits, float32 [max_batch, 1, vocab].
"""

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.vllm.adapter import Drawn, VllmMixtral
from models.mixtral8x7b.vllm.sampling import Asked


class CommandedMixtral(VllmMixtral):
    """For plugins that say in each decode call what to take of its inputs: contract 1."""

    decode_input_update_contract = 1

    def decode_forward(
        self,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: KVCache,
        start_pos: torch.Tensor,
        enable_trace: bool,
        read_from_device: bool,
        sampling_params: Asked | None = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        reload_inputs: bool = True,
        reload_page_table: bool = False,
        reload_sampling_params: bool = False,
        reset_sampling_state: bool = False,
        slot_remap: torch.Tensor | None = None,
    ) -> ttnn.Tensor | Drawn:
        """tokens and start_pos count where reload_inputs says so; else the rows go on with what they drew.

        Without sampling_params the logits of the rows, which need reload_inputs. Raises RequestError for commands that
        contradict each other, or want a row to go on that has nothing to go on with.
        """
        rows = self._rows
        if not reload_inputs and (sampling_params is None or reset_sampling_state or not rows.resident):
            raise RequestError(
                "reload_inputs is false, and the rows' tokens are not on the chips or must not be used; set it for the "
                "first step, for steps whose logits are read, and with reset_sampling_state"
            )
        self._move(slot_remap)
        if reload_inputs:
            self._reload(tokens, start_pos, page_table)
        elif reload_page_table:
            rows.set_blocks(page_table)
        if sampling_params is None:
            return self._logits()
        if reload_sampling_params or reset_sampling_state:
            self._ask(sampling_params)
        if reset_sampling_state:
            rows.align_random_numbers()
        return self._step(enable_trace, read_from_device, prompt_tokens, output_tokens)


class ResetMixtral(VllmMixtral):
    """For plugins that say reset_batch where rows have come, gone or moved, and nothing else."""

    def decode_forward(
        self,
        tokens: torch.Tensor,
        page_table: torch.Tensor,
        kv_cache: KVCache,
        start_pos: torch.Tensor,
        enable_trace: bool,
        read_from_device: bool,
        sampling_params: Asked | None = None,
        prompt_tokens: torch.Tensor | None = None,
        output_tokens: torch.Tensor | None = None,
        reset_batch: bool = False,
        slot_remap: torch.Tensor | None = None,
    ) -> ttnn.Tensor | Drawn:
        """Without reset_batch tokens and start_pos may be a step old: the rows go on with what they drew, if they did.

        Without sampling_params the logits of the rows, of the tokens that are given.
        """
        rows = self._rows
        self._move(slot_remap)
        if sampling_params is None:
            self._reload(tokens, start_pos, page_table)
            return self._logits()
        if reset_batch or not rows.resident:
            self._reload(tokens, start_pos, page_table)
            self._ask(sampling_params)
            rows.align_random_numbers()
        else:
            rows.set_blocks(page_table)  # which is always of now
        return self._step(enable_trace, read_from_device, prompt_tokens, output_tokens)
