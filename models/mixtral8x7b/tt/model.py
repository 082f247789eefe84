"""Mixtral in ttnn: the same layers as `reference/`, for prefill and for decode, on 1 to 8 chips.

model = Mixtral(weights, mesh, precision, n_blocks, max_context)
logits = model.prefill(prompts)            # of each prompt's last token, in the row it will decode in
model.state.set_rows(...); model.step()    # one token of every row; ids, positions and KV stay on the chips
"""

from collections.abc import Callable, Collection, Sequence

import torch
import ttnn

from models.mixtral8x7b.arguments import RequestError
from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.packing import LARGEST_PASS, Pass, Piece, pack, pass_sizes
from models.mixtral8x7b.paging import Prompt
from models.mixtral8x7b.tt.decode_state import DecodeState, table_width
from models.mixtral8x7b.tt.decoder import DecoderBlock
from models.mixtral8x7b.tt.embedding import Embedding
from models.mixtral8x7b.tt.expert_choices import ExpertChoices
from models.mixtral8x7b.tt.head import Head
from models.mixtral8x7b.tt.kv_cache import KVCache
from models.mixtral8x7b.tt.layouts import DECODE_ROWS, vocabulary_columns
from models.mixtral8x7b.tt.memory_plan import plan
from models.mixtral8x7b.tt.mesh import Mesh, check_split
from models.mixtral8x7b.tt.precision import Precision
from models.mixtral8x7b.tt.prefill import PrefillInputs, all_positions, check
from models.mixtral8x7b.tt.rope import Rope
from models.mixtral8x7b.tt.sampler import Sampler
from models.mixtral8x7b.tt.steps import DecodeStep
from models.mixtral8x7b.tt.weights import Weights

TakeLogits = Callable[[torch.Tensor], None]  # is given those of all rows, float32 [32, vocab_size]
# is given a piece, a position of its prompt, and the logits of up to 32 positions from there on, float32 [N, vocab]
TakePromptLogits = Callable[[Piece, int, torch.Tensor], None]


class Mixtral:
    """n_blocks KV blocks of 64 positions are shared by all users; one user may have max_context positions. Where one
    user's row of the page table is longer than that, there are as many blocks as it has.

    n_tokens: how many ids the tokenizer has; from there on none is drawn (None: all of the vocabulary may be).
    max_pass_tokens limits the rows of one prefill pass. notes_experts: whether there are `choices` for a step to note.
    Raises ConfigError, before anything is loaded, for a model that does not divide over the chips, a context beyond it,
    or a KV cache that does not fit beside the weights.
    """

    def __init__(
        self,
        weights: Weights,
        mesh: Mesh,
        precision: Precision,
        n_blocks: int,
        max_context: int,
        max_pass_tokens: int = LARGEST_PASS,
        n_tokens: int | None = None,
        notes_experts: bool = False,
    ) -> None:
        config = weights.config
        config.check_context(max_context)
        check_split(config, mesh.n_devices)
        n_tokens = config.vocab_size if n_tokens is None else n_tokens
        if not 1 <= n_tokens <= config.vocab_size:
            raise ConfigError(f"{n_tokens} ids may be drawn; expected 1 to {config.vocab_size}, the model's vocabulary")
        if max_pass_tokens not in pass_sizes():
            raise ConfigError(
                f"max_pass_tokens is {max_pass_tokens}; expected one of {', '.join(map(str, pass_sizes()))}"
            )
        n_blocks = max(n_blocks, table_width(max_context))  # a row of the page table names no more than there are
        planned = plan(
            config, precision, mesh.n_devices, n_blocks, max_context, max_pass_tokens, n_tokens, notes_experts
        )
        planned.check(n_blocks)
        self.config, self.mesh, self.precision = config, mesh, precision
        self.max_context, self._max_pass_tokens, self.n_tokens = max_context, max_pass_tokens, n_tokens
        self.largest_pass = planned.pass_tokens  # rows; larger ones the KV cache does not call for
        self._rope = Rope(config, mesh)
        self._embedding = Embedding(weights, mesh)
        self._layers = [DecoderBlock(weights, mesh, precision, layer) for layer in range(config.n_layers)]
        self._head = Head(weights, mesh, precision)
        self.sampler = Sampler(mesh.n_devices * vocabulary_columns(config.vocab_size, mesh.n_devices), mesh, n_tokens)
        self.cache = KVCache(config, mesh, n_blocks, precision.kv_cache)
        self.state = DecodeState(mesh, max_context)
        self.choices = ExpertChoices(config, mesh) if notes_experts else None

    # ---------------------------------------------------------------- decode

    def step(self, choices: ExpertChoices | None = None, take_logits: TakeLogits | None = None) -> None:
        """One decode step of all 32 rows, on the chips from end to end: state.tokens become the next tokens.

        With `choices` the layers note there which experts each row's token went to. With take_logits the host reads in
        the middle: such a step cannot be recorded.
        """
        logits = self.decode_logits(choices)
        if take_logits is not None:
            take_logits(self.copy_logits(logits))
        self.sampler.forward(logits, self.state.tokens)
        self.state.advance()
        self.sampler.advance()

    def decode_logits(self, choices: ExpertChoices | None = None) -> ttnn.Tensor:
        """Logits of state.tokens at state.positions, bf16 [1, 1, 32, vocabulary_columns] in L1, others on each chip.

        Their keys and values go to the cache.
        """
        rotation = self._rope.for_decode(self.state.rope_positions)
        step = DecodeStep(rotation, self.state.positions, self.state.page_table, choices)
        x_BD = self._embedding.forward_decode(self.state.tokens)
        for layer in self._layers:
            x_BD = layer.forward_decode(x_BD, self.cache, step)
        rotation.deallocate()
        return self._head.forward(x_BD)

    # ---------------------------------------------------------------- prefill

    def passes(self, prompts: Sequence[Prompt]) -> list[Pass]:
        """What `prefill_pass` takes, one after the other, for prompts of any lengths in rows of their own, or none.

        Raises RequestError for a row, an id or a number of tokens or blocks that cannot be.
        """
        check(prompts, self.config.vocab_size, self.max_context)
        return pack(prompts, self._max_pass_tokens)

    def prefill(self, prompts: Sequence[Prompt]) -> ttnn.Tensor:
        """Fills the cache with the prompts' keys and values and gives the logits of their last tokens.

        The logits are as decode_logits gives them; row r is that of the prompt with row r, other rows mean nothing.
        Raises what passes raises.
        """
        if not prompts:
            raise RequestError("there is no prompt to prefill; expected at least one")
        first, *others = self.passes(prompts)
        last_BD = self._run(first)
        for another in others:
            more_BD = self._run(another)
            ttnn.add_(last_BD, more_BD)  # rows of prompts that do not end in a pass are 0
            ttnn.deallocate(more_BD)
        return self._head.forward(last_BD)

    def prefill_pass(
        self,
        of: Pass,
        take_prompt_logits: TakePromptLogits | None = None,
        of_rows: Collection[int] = range(DECODE_ROWS),
    ) -> ttnn.Tensor:
        """One pass of several; the logits are right in the rows of the prompts that end in it.

        take_prompt_logits is called with the logits of every position of the pass that belongs to one of these rows.
        """
        asked = [piece for piece in of.pieces if piece.prompt.row in of_rows]
        return self._head.forward(self._run(of, asked, take_prompt_logits))

    def _run(
        self, of: Pass, asked: Sequence[Piece] = (), take_prompt_logits: TakePromptLogits | None = None
    ) -> ttnn.Tensor:
        """A pass through all layers; the last rows of the prompts that end in it, 0 elsewhere, [1, 1, 32, D]."""
        inputs = PrefillInputs(of, self.config, self.mesh, self.precision, self._rope, self.max_context)
        x_TD = self._embedding.forward_prefill(inputs.ids)
        for layer in self._layers:
            x_TD = layer.forward_prefill(x_TD, self.cache, inputs.layout)
        if take_prompt_logits is not None:
            self._tell_prompt_logits(x_TD, of.size, asked, take_prompt_logits)
        last_BD = self._head.rows(x_TD, inputs.select_last)
        ttnn.deallocate(x_TD)
        inputs.deallocate()
        return last_BD

    def _tell_prompt_logits(self, x_TD: ttnn.Tensor, size: int, asked: Sequence[Piece], take: TakePromptLogits) -> None:
        """The head of all positions, a tile of rows at a time: the programs are those of the last rows."""
        for piece in asked:
            for start, n_rows, select in all_positions(piece, size, self.mesh):
                logits = self._head.forward(self._head.rows(x_TD, select))
                ttnn.deallocate(select)
                take(piece, start, self.read_logits(logits)[:n_rows])

    # ---------------------------------------------------------------- both

    def sample(self, logits: ttnn.Tensor) -> list[int]:
        """One token id of every row, on the host; state.tokens stays as it is. Frees logits."""
        return self.sampler.draw(logits)

    def copy_logits(self, logits: ttnn.Tensor) -> torch.Tensor:
        """Logits on the host, float32 [32, vocab_size]."""
        return self._head.copy_logits(logits)

    def read_logits(self, logits: ttnn.Tensor) -> torch.Tensor:
        """Logits on the host, float32 [32, vocab_size]. Frees them on the chips."""
        whole = self.copy_logits(logits)
        ttnn.deallocate(logits)
        return whole
