"""Speed, in the columns in which others tell theirs."""

import json
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.options import CacheOnly, Checkpoint, Chips, Fabric, Precision, Target, whole_numbers
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target


def bench(
    batch: Annotated[str, Option(metavar="N,N,...", help="Users who ask at the same moment.")] = "1,32",
    inputs: Annotated[str, Option("--input", metavar="N,N,...", help="Tokens of each prompt.")] = "128",
    outputs: Annotated[str, Option("--output", metavar="N,N,...", help="Tokens of each answer.")] = "128",
    rounds: Annotated[int, Option(min=1, metavar="N", help="Of each combination, after one that does not count.")] = 1,
    as_json: Annotated[bool, Option("--json", help="Print one JSON object, in place of the table.")] = False,
    picture: Annotated[Path | None, Option(metavar="FILE.svg", help="Draw it as well.", show_default=False)] = None,
    checkpoint: Checkpoint = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
    cache_only: CacheOnly = False,
) -> None:
    """Measure batch x input x output lengths.

    Prompts are random ids, each user's another, and answers go on to their full length; the prefix cache is off.
    TTFT is the time to a user's first token, TPOT a user's time for each token after it, t/s/u the inverse of its mean,
    t/s that times the batch, as Tenstorrent's tables have them; output and total tokens/s are those of whole rounds, as
    vLLM's tables have them. Times are milliseconds: the median, and what 99 % stay below.
    """
    shapes = [
        (users, n_in, n_out)
        for n_in in whole_numbers("--input", inputs)
        for n_out in whole_numbers("--output", outputs)
        for users in whole_numbers("--batch", batch)
    ]
    if picture is not None and picture.suffix != ".svg":
        raise UsageMistake(f"--picture is {picture}; expected a name that ends with .svg")
    if picture is not None and not picture.parent.is_dir():
        raise UsageMistake(f"--picture is {picture}, and {picture.parent} is no folder; expected one that is there")
    context = max(2, *(n_in + n_out for _, n_in, n_out in shapes))
    options = ModelOptions(checkpoint, precision, target, chips, fabric, cache_only, context)
    use_target(chosen_target(target), chips)
    from models.mixtral8x7b.cli.measure import header, measure
    from models.mixtral8x7b.cli.served import Prepared
    from models.mixtral8x7b.engine.engine import Options
    from models.mixtral8x7b.paging import blocks_for

    model = Prepared(options)
    largest = max(shapes, key=lambda shape: shape[0] * blocks_for(shape[1] + shape[2]))
    print(f"mixtral: {model.title} ({model.note})", file=sys.stderr, flush=True)
    with model.serving([largest[1] + largest[2]] * largest[0], Options(prefix_cache=False)) as served:
        if not as_json:
            print(header(), flush=True)
        rows = []
        for users, n_in, n_out in shapes:
            rows.append(measure(served, users, n_in, n_out, rounds))
            if not as_json:
                print(rows[-1].line(), flush=True)
    if as_json:
        print(json.dumps({"model": model.title, "rounds": rounds, "rows": [row.told() for row in rows]}))
    if picture is not None:
        from models.mixtral8x7b.cli.picture import drawn
        from models.mixtral8x7b.durable import write_text_durably

        write_text_durably(picture, drawn(model.title, rows))
        print(f"mixtral: drawn in {picture}", file=sys.stderr)
