"""A chat in the terminal."""

import sys
from typing import Annotated

from typer import Option

from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.options import (
    CacheOnly,
    Checkpoint,
    Chips,
    Context,
    Fabric,
    MaxNewTokens,
    Precision,
    Seed,
    Target,
    Temperature,
    TopK,
    TopP,
    chosen_seed,
)
from models.mixtral8x7b.cli.prompt import checked_text
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target


def chat(
    system: Annotated[str, Option(metavar="TEXT", help="The system prompt.", show_default=False)] = "",
    max_new_tokens: MaxNewTokens = 512,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 32,
    seed: Seed = None,
    checkpoint: Checkpoint = None,
    context: Context = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
    cache_only: CacheOnly = False,
) -> None:
    """Talk with the model, turn by turn.

    Each turn computes only what is new: the rest is in the prefix cache. /help lists what may be typed besides
    questions; Ctrl-D ends.
    """
    options = ModelOptions(checkpoint, precision, target, chips, fabric, cache_only, context)
    use_target(chosen_target(target), chips)
    from models.mixtral8x7b.cli.served import Prepared
    from models.mixtral8x7b.cli.talk import Talk, TalkError, check_streams, ids_of_a_question
    from models.mixtral8x7b.sampling import SamplingParams

    check_streams()
    sampling = SamplingParams(temperature, top_k, top_p, chosen_seed(seed))
    system = checked_text("--system", system)
    model = Prepared(options)
    if not model.is_instruct:
        raise TalkError("the checkpoint is base, which was not made to chat; use generate, or an instruct one")
    most_ids = ids_of_a_question(model.max_context, max_new_tokens)
    print(f"mixtral: {model.title} ({model.note})", file=sys.stderr, flush=True)
    with model.serving([model.max_context]) as served:
        talk = Talk(served, system, most_ids, max_new_tokens, sampling)
        print("/help says what may be typed; Ctrl-D ends.", file=sys.stderr, flush=True)
        talk.run()
