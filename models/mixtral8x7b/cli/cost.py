"""What the recorded programs would take on the chips. Modelled, never measured."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.options import PRECISIONS, Chips, Fabric, whole_numbers
from models.mixtral8x7b.target import T3000_CHIPS, use_target

MOST_USERS = 32  # of a decode step


def cost(
    precision: Annotated[
        str, Option(metavar="NAME", help=f"One of {', '.join(PRECISIONS)}, or all.", autocompletion=lambda: _NAMES)
    ] = "all",
    batch: Annotated[str, Option(metavar="N,N,...", help="Users who decode.")] = "1,8,32",
    context: Annotated[
        str, Option(metavar="N,N,...", help="Positions that each of them has.")
    ] = "128,4096,16384,32768",
    prompt: Annotated[str, Option(metavar="N,N,...", help="Tokens of each prompt.")] = "128,1024,4096,16384,32768",
    operations: Annotated[bool, Option("--operations", help="Also print each operation of the last of both.")] = False,
    plot: Annotated[Path | None, Option(metavar="FILE.svg", help="Draw the last of both.", show_default=False)] = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
) -> None:
    """Print what the chips would take, modelled.

    Mixtral 8x7B at full size, recorded on the CPU backend without storage and costed by the laws of
    docs/cost_model.md. Ranges are over what is not known: gaps, launches, the host. roof: every operation at the chip's
    peaks. Nothing here was measured on chips.
    """
    given = {"--batch": batch, "--context": context, "--prompt": prompt}
    users, contexts, lengths = (whole_numbers(option, text) for option, text in given.items())
    if precision not in _NAMES:
        raise UsageMistake(f"--precision is {precision!r}; expected one of {', '.join(_NAMES)}")
    if max(users) > MOST_USERS:
        raise UsageMistake(f"--batch is {batch}; expected at most {MOST_USERS}, the rows of a step")
    if plot is not None and (plot.suffix != ".svg" or not plot.parent.is_dir()):
        raise UsageMistake(f"--plot is {plot}; expected a name that ends with .svg, in a folder that is there")
    use_target("cpu")
    from models.mixtral8x7b.config import MIXTRAL_8X7B, ConfigError
    from models.mixtral8x7b.cost.study import (
        ERRORS,
        beside_decoding,
        beside_first_tokens,
        far_from_roof,
        operation_table,
        studies,
    )
    from models.mixtral8x7b.machine import chosen_machine
    from models.mixtral8x7b.tt.mesh import MESH_SIZES

    if chips not in MESH_SIZES:
        raise ConfigError(f"--chips is {chips}; expected 1, 2, 4 or 8")
    MIXTRAL_8X7B.check_context(max(*contexts, *lengths))
    joined = chosen_machine("device", fabric).fabric
    several = [n for n in lengths if MOST_USERS * n <= MOST_TOGETHER]
    longest, together = max(*contexts, *lengths), max(max(lengths), MOST_USERS * max(several, default=1))
    names = PRECISIONS if precision == "all" else (precision,)
    for name, study in studies(MIXTRAL_8X7B, names, chips, joined, longest, together):
        if name == names[0]:
            print(f"modelled, not measured: Mixtral 8x7B on {chips} Wormhole chips, {joined}\n{ERRORS}")
        decoding = [study.decoding(n, positions) for n in users for positions in contexts]
        first = [study.first_tokens(1, n) for n in lengths] + [study.first_tokens(MOST_USERS, n) for n in several]
        print("\n".join([each.line() for each in decoding] + [each.line() for each in first]))
        if chips == T3000_CHIPS:
            print("\n".join(map(beside_decoding, decoding)))
            print("\n".join(map(beside_first_tokens, first)))
        sys.stdout.flush()
        if operations:
            single = first[len(lengths) - 1]
            for line, predicted in ((decoding[-1].line(), decoding[-1].predicted), (single.line(), single.predicted)):
                steps = predicted.steps
                of = f" (the last of {len(steps)} passes)" if len(steps) > 1 else ""
                print(f"\n{line}{of}\n{operation_table(steps[-1])}\n{far_from_roof(predicted)}\n")
        if plot is not None and name == names[0]:
            from models.mixtral8x7b.cli.cost_picture import drawn
            from models.mixtral8x7b.durable import write_text_durably

            write_text_durably(plot, drawn(decoding, first))
            print(f"mixtral: drawn in {plot}", file=sys.stderr)


MOST_TOGETHER = 1 << 19  # tokens of 32 prompts that are looked at
_NAMES = [*PRECISIONS, "all"]
