"""What the engine needs of a model: a prefill pass, a decode step, and what each of its rows does. Imports no ttnn."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from models.mixtral8x7b.packing import Pass
from models.mixtral8x7b.sampling import SamplingParams

ROWS = 32  # of a decode step: requests that are served at a time

# is given a position of a prompt, and the logits of the positions from there on, float32 [n, vocab_size]; in the
# engine's thread, which it must neither hold up nor raise in
TakeLogits = Callable[[int, Any], None]

# of one token: of each layer the experts that it was sent to, the one of the largest share first
Choices = Sequence[Sequence[int]]


class ExpertSizes(NamedTuple):
    """Of a model whose steps can note the experts that they send tokens to."""

    layers: int
    experts: int  # of each layer
    per_token: int  # of them, that one token is sent to


class Sizes(NamedTuple):
    """The four that a Model tells of itself."""

    n_blocks: int
    max_context: int
    vocab_size: int
    largest_pass: int


class Row(NamedTuple):
    """What a row does from now on.

    The token drawn in it next has the number `next_index` in its answer, from 0 on: random numbers are a function of
    (sampling.seed, next_index), and of nothing else. `position` is that of `token`, which the next step feeds; None:
    the row does not decode, its prompt is being prefilled. `blocks` is the engine's own list: read it during the call
    only. `reads_logits` announces that the engine draws this row's tokens itself, `reads_experts` that it wants to know
    which experts they are sent to.
    """

    sampling: SamplingParams
    next_index: int
    token: int
    position: int | None
    blocks: Sequence[int]
    reads_logits: bool
    reads_experts: bool


class Model(Protocol):
    """One thread calls it. Whatever it raises ends the engine."""

    n_blocks: int  # of the KV cache, of packing's KV_BLOCK positions
    max_context: int  # positions of one request
    vocab_size: int
    largest_pass: int  # rows of a prefill pass at most, a size of packing.pass_sizes
    experts: ExpertSizes | None  # None: its steps note none, and no row reads_experts

    def set_rows(self, rows: Sequence[Row | None]) -> None:
        """What all ROWS rows do from now on; None is unused. A step advances token, position and next_index by itself.
        Always called before a pass, as for the rows that do not decode; never while a step has not been read."""

    def prefill(self, of: Pass, take_logits: Mapping[int, TakeLogits]) -> Sequence[int]:
        """Runs the pass; ROWS ids, each the first new token of the prompt that ends in the pass in that row.

        take_logits, by row, is called with the logits of all positions that the row has in the pass."""

    def step(self) -> None:
        """Starts one decode step of all rows; need not wait for it."""

    def read_tokens(self) -> Sequence[int]:
        """Waits for the step; the ROWS ids that it drew, which are the tokens that the next step feeds."""

    def read_logits(self) -> Any:
        """Logits of the last pass or step, float32 [ROWS, vocab_size]; only asked for where a row reads_logits."""

    def read_experts(self, rows: Collection[int]) -> Mapping[int, Choices]:
        """By row, where the last step sent the token that it fed; only asked of rows that read them."""

    def write_tokens(self, tokens: Mapping[int, int]) -> None:
        """By row, the ids that the next step feeds in place of those that the last one drew."""


class Drawn(Protocol):
    """A token that was drawn on the host, with whatever else its reader is told (log-probabilities)."""

    @property
    def token(self) -> int: ...


class HostRow(Protocol):
    """Draws one answer's tokens out of its logits, on the host. May have a state: it is asked once for each token."""

    def next_token(self, logits_V: Any, generated: Sequence[int]) -> Drawn:
        """Of logits float32 [vocab_size] and the answer so far. An exception ends the request, and no other."""
