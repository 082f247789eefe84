"""How a chat is written: by the checkpoint's own template, else in the form that its control tokens tell.

    v1       no control token of a chat: BOS "[INST] Hi [/INST]" "Hello." EOS "[INST] Who? [/INST]", each part encoded
             on its own; a system prompt stands before the first of the user's texts
    v2, v3   [INST] and [/INST] are control tokens: BOS [INST] "Hi" [/INST] "Hello." EOS ...; a system prompt stands
             before the last of the user's texts
    ChatML   <|im_start|> and <|im_end|> are tokens

v1 to v3 are what mistral-common gives.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from models.mixtral8x7b.tokenizer.errors import TokenizerError
from models.mixtral8x7b.tokenizer.roles import USER, Message, alternating, system_prompt, with_prompt

INST, END_INST = "[INST]", "[/INST]"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_OF_A_TURN = re.compile(r"user|assistant|human|system|inst\b|turn|header|im_start", re.IGNORECASE)
Encode = Callable[[str], list[int]]


def is_chatml(names: Collection[str]) -> bool:
    return {"<|im_start|>", "<|im_end|>"} <= set(names)


def encode_mistral(
    messages: Sequence[Message], encode: Encode, ids: Mapping[str, int], bos: int | None, eos: int
) -> list[int]:
    """v2 and v3 where `ids` has [INST], else v1."""
    prompt, said, has_tokens = system_prompt(messages), alternating(messages), INST in ids
    prompted = max(n for n, message in enumerate(said) if message.role == USER) if has_tokens else 0
    encoded = [] if bos is None else [bos]
    for number, message in enumerate(said):
        text = (with_prompt(message, prompt) if number == prompted else message).content
        if message.role != USER:
            encoded += [*encode(text.rstrip(" ") if has_tokens else text), eos]
        elif has_tokens:
            encoded += [ids[INST], *encode(text), ids[END_INST]]
        else:
            encoded += encode(f"{INST} {text} {END_INST}")
    return encoded


def check_mistral(names: Collection[str], has_mistral_pieces: bool, file: Path) -> None:
    """Raises TokenizerError if a tokenizer with tokens of these names is neither v1, v2 nor v3."""
    if {INST, END_INST} <= set(names):
        strange = [name for name in names if name == "[SYSTEM_PROMPT]"]
    else:
        strange = [name for name in names if _OF_A_TURN.search(name)]
    if strange or not has_mistral_pieces:
        has = f"has the control token {strange[0]}" if strange else "is not of Mistral's kind"
        raise TokenizerError(
            f"{file} {has}, and no chat template stands beside it: how a chat is written for this model is not known; "
            "put its tokenizer_config.json or chat_template.jinja there, or use --kind general"
        )
