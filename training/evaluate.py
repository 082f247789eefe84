"""What a trained model can do: answers exactly right, hidden facts found by length, experts used.

An answer is right if greedy decoding gives exactly its tokens and then EOS. That needs no decoding: in one pass over
question and answer the most likely token at every place must be the answer's. `Logits` is any model's forward pass.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

import torch
from torch import Tensor

from models.mixtral8x7b.config import MixtralConfig
from models.mixtral8x7b.reference.observe import Observe
from models.mixtral8x7b.tokenizer import Tokenizer
from training.corpus import question_lines
from training.documents import document_prompt, long_document

Logits = Callable[[Tensor], Tensor]  # tokens [B, S] -> [B, S, vocab]
ROWS = 32


def chat_ids(question: str, answer: str, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """(prompt, answer and EOS) in the instruct form."""
    return tokenizer.encode_chat([question]), [*tokenizer.encode(answer, bos=False), tokenizer.eos_id]


def plain_ids(question: str, answer: str, tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """(prompt, answer) as the base flavour writes them; `question` may be a document's prompt."""
    first = "" if "Question: " in question else "Question: "
    prompt = question_lines((question, answer), first)[0]
    return tokenizer.encode(prompt), tokenizer.encode(answer, bos=False)


@torch.no_grad()
def answered_right(logits: Logits, pairs: Sequence[tuple[list[int], list[int]]]) -> list[bool]:
    """For each (prompt ids, answer ids) whether greedy decoding of the prompt gives the answer."""
    right: list[bool] = []
    for start in range(0, len(pairs), ROWS):
        group = pairs[start : start + ROWS]
        rows = [torch.tensor(prompt + answer) for prompt, answer in group]
        tokens_BS = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        best_BS = logits(tokens_BS).argmax(-1)
        for row, (prompt, answer) in enumerate(group):
            given = best_BS[row, len(prompt) - 1 : len(prompt) + len(answer) - 1]
            right.append(given.tolist() == answer)
    return right


def hidden_facts_found(
    logits: Logits,
    tokenizer: Tokenizer,
    n_tokens: int,
    n_documents: int,
    fact_at: float | None = None,
    to_ids: Callable[[str, str, Tokenizer], tuple[list[int], list[int]]] = chat_ids,
) -> int:
    """Of `n_documents` documents of `n_tokens` tokens, none of them of the corpus: how many are answered right."""
    pairs = []
    for seed in range(n_documents):
        document = long_document(
            f"evaluation {n_tokens} {seed}", n_tokens, lambda text: len(tokenizer.encode(text, bos=False)), fact_at
        )
        pairs.append(to_ids(document_prompt(document.text, document.question), document.answer, tokenizer))
    return sum(answered_right(logits, [pair])[0] for pair in pairs)


@torch.no_grad()
def continue_greedily(logits: Logits, prompts: Sequence[list[int]], n_new: int, eos_id: int) -> list[list[int]]:
    """Each prompt's ids with up to `n_new` more, all prompts at once; EOS ends a row and is not kept."""
    rows = [list(prompt) for prompt in prompts]
    going = set(range(len(rows)))
    for _ in range(n_new):
        tokens_BS = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        best_BS = logits(tokens_BS).argmax(-1)
        for row in sorted(going):
            new = int(best_BS[row, len(rows[row]) - 1])
            if new == eos_id:
                going.remove(row)
            else:
                rows[row].append(new)
        if not going:
            break
    return rows


class ExpertUse:
    """Counts which experts are chosen: give `observe` to a forward pass, then read `shares`."""

    def __init__(self, config: MixtralConfig) -> None:
        self._moe = config.moe
        self._counts_LE = torch.zeros(config.n_layers, config.moe.num_experts)

    @property
    def observe(self) -> Observe:
        def count(name: str, value: Tensor) -> None:
            if name.endswith(".router_logits"):
                chosen_NA = value.topk(self._moe.num_experts_per_tok).indices
                layer = int(name.split(".")[1])
                self._counts_LE[layer] += torch.bincount(chosen_NA.flatten(), minlength=self._moe.num_experts)

        return count

    @property
    def shares(self) -> list[list[float]]:
        """By layer, the share of all choices that fell on each expert."""
        return (self._counts_LE / self._counts_LE.sum(1, keepdim=True)).tolist()


def expert_shares(
    forward: Callable[[Tensor, Observe], Tensor], config: MixtralConfig, rows: Iterable[list[int]]
) -> list[list[float]]:
    """The shares over rows of ids. Rows of one length go together: padding is no token and must not be counted."""
    use = ExpertUse(config)
    with torch.no_grad():
        for _, group in groupby(sorted(rows, key=len), key=len):
            forward(torch.tensor(list(group)), use.observe)
    return use.shares
