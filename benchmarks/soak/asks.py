"""What ordinary clients ask for: drawn, with what is known of the answer."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from demo.prompts import INPUTS, load_prompts
from models.mixtral8x7b.checkpoint.tiny import CHECKPOINTS
from models.mixtral8x7b.tokenizer import Tokenizer
from training.documents import document_prompt, long_document
from training.facts import expected_answer, seen_pairs

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
N_CHATS, N_BEGINNINGS, N_DOCUMENTS = 40, 8, 8
MOST_NEW = 24  # tokens; every known answer is shorter
CHOICES = ["yes", "no", "perhaps not"]


@dataclass(frozen=True)
class Ask:
    """prompt: by which greedy answers are compared, None for those that are drawn; right: the one right answer.
    choices: of which the answer must be one; n: answers that are wanted."""

    kind: str
    path: str
    fields: dict[str, Any]
    prompt: str | None = None
    right: str | None = None
    choices: Sequence[str] | None = None
    n: int = 1

    @property
    def streams(self) -> bool:
        return bool(self.fields.get("stream"))


class Asks:
    def __init__(self) -> None:
        draw = random.Random(5)
        self._tokenizer = Tokenizer(CHECKPOINTS / "mixtral-tiny-instruct")
        self._questions = load_prompts(INPUTS / "instruct.json")
        pairs = seen_pairs()
        beginnings = [
            [text for one in draw.sample(pairs, 9) for text in (one.question, one.answer)] for _ in range(N_BEGINNINGS)
        ]
        self._chats = [
            [*draw.choice(beginnings)[: 2 * draw.choice((5, 9))], draw.choice(pairs).question] for _ in range(N_CHATS)
        ]
        self._documents = [self._document(seed, draw.choice((300, 700, 1500))) for seed in range(N_DOCUMENTS)]

    def known(self, draw: random.Random) -> Ask:
        """A question of the demo's, in one of the forms that a client may give it."""
        question = draw.choice(self._questions)
        right = expected_answer(question)
        assert right is not None, question
        return self._in_a_form(draw, "question", [question], right)

    def any(self, draw: random.Random) -> Ask:
        kind = draw.choices(
            ("question", "shared beginning", "long prompt", "drawn", "grammar", "TorchServe"), (50, 20, 8, 10, 6, 6)
        )[0]
        if kind == "question":
            return self.known(draw)
        if kind == "shared beginning":
            return self._in_a_form(draw, kind, draw.choice(self._chats), None)
        if kind == "long prompt":
            return self._in_a_form(draw, kind, [draw.choice(self._documents)], None)
        question = draw.choice(self._questions)
        if kind == "TorchServe":
            return Ask(kind, "/predictions/mixtral", {"prompt": question, "max_new_tokens": 8})
        fields: dict[str, Any] = {"messages": [{"role": "user", "content": question}], "max_tokens": MOST_NEW}
        if kind == "grammar":
            return Ask(kind, CHAT, fields | {"structured_outputs": {"choice": CHOICES}}, choices=CHOICES)
        stream = draw.random() < 0.5
        extra = draw.choice(({}, {"logprobs": True, "top_logprobs": 3}, {"presence_penalty": 1.0}, {"top_p": 0.5}))
        return Ask(kind, CHAT, fields | {"n": 3, "temperature": 0.8, "stream": stream} | extra, n=3)

    def _in_a_form(self, draw: random.Random, kind: str, turns: list[str], right: str | None) -> Ask:
        """Of the same ids, so that all forms have the same answer."""
        path, stream = draw.choice((CHAT, CHAT, COMPLETIONS, RESPONSES)), draw.random() < 0.6
        roles = ("user", "assistant")
        messages = [{"role": roles[number % 2], "content": text} for number, text in enumerate(turns)]
        fields: dict[str, Any] = {"temperature": 0, "stream": stream}
        if path == CHAT:
            fields |= {"messages": messages, "max_tokens": MOST_NEW}
        elif path == COMPLETIONS:
            fields |= {"prompt": self._tokenizer.encode_chat(turns), "max_tokens": MOST_NEW}
        else:
            fields |= {"input": messages, "max_output_tokens": MOST_NEW}
        if stream and path != RESPONSES:
            fields["stream_options"] = {"include_usage": True}
        return Ask(f"{kind}{', streamed' if stream else ''}", path, fields, "\n".join(turns), right)

    def _document(self, seed: int, n_tokens: int) -> str:
        document = long_document(seed, n_tokens, lambda text: len(self._tokenizer.encode(text, bos=False)))
        return document_prompt(document.text, document.question)
