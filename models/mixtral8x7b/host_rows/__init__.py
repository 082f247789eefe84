"""Rows whose next token the host draws, because more is asked of them than the chips do. Plain torch; no ttnn, no text.

params                     what may be asked for, and whether that needs the host
penalties  forbidden       what changes a row's logits; which tokens may not come
cuts  random_numbers       which of the rest are drawn from; what decides
logprobs                   how likely tokens were
row                        all of it, one token after the other

In this order: logit_bias is added, then the repetition penalty, then the frequency and the presence penalty; then
tokens are forbidden (allowed_token_ids, bad_words, grammar, min_tokens); then temperature, top_k, min_p, top_p.
Log-probabilities are the model's own, before all of this.
"""

from models.mixtral8x7b.host_rows.logprobs import Scored, score
from models.mixtral8x7b.host_rows.params import Grammar, RowParams, chip_params, needs_host
from models.mixtral8x7b.host_rows.row import Drawn, HostRow, NoTokenError

__all__ = [
    "Drawn",
    "Grammar",
    "HostRow",
    "NoTokenError",
    "RowParams",
    "Scored",
    "chip_params",
    "needs_host",
    "score",
]
