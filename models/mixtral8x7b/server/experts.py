"""Which experts drew each token of an answer: a field beside its text, which OpenAI's form does not have."""

from collections.abc import Sequence
from typing import Any

from models.mixtral8x7b.server.fields import Fields
from models.mixtral8x7b.server.logprobs import token_name
from models.mixtral8x7b.server.scores import Told
from models.mixtral8x7b.tokenizer import Tokenizer


def experts_field(fields: Fields, tokenizer: Tokenizer, tokens: Sequence[Told]) -> dict[str, list[dict[str, Any]]]:
    """For a choice, of the new ones among its tokens; no field where nobody asks.

    layers: of each layer the experts' ids, the one of the largest share first; null for a token that a pass drew.
    """
    if not fields.experts:
        return {}
    as_id = bool(fields.return_tokens_as_token_ids)
    told = [
        {
            "id": token.id,
            "token": token_name(tokenizer, token.id, as_id),
            "text_offset": token.offset,
            "layers": token.experts,
        }
        for token in tokens
        if token.is_new
    ]
    return {"experts": told}
