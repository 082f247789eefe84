"""Commands out of functions: typer reads the command line, and then the function runs.

It runs when typer has let go, which has its own ideas of Ctrl-C and of closed pipes; `program` says how programs end.
"""

import sys
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import typer

from models.mixtral8x7b.mistake import Mistake
from models.mixtral8x7b.program import STOPPED

WRONG_USE = 2  # exit code
Command = Callable[..., None]


class UsageMistake(Mistake):
    """Options or arguments that do not go together; `run` adds where to read how they do."""


def run(name: str, *commands: Command) -> None:
    """Reads sys.argv and runs the one command, or that of several which is named first.

    Ends by SystemExit where it was not used as it has to be: with WRONG_USE, and one sentence on stderr.
    """
    asked: list[Callable[[], None]] = []
    parser = typer.main.get_command(_app(commands, asked))
    try:
        code = parser.main(prog_name=name, standalone_mode=False)
        if code == STOPPED:  # typer's word for it
            raise KeyboardInterrupt
        for command in asked:
            command()
    except typer.TyperException as error:
        _refuse(name, error.format_message())
    except UsageMistake as error:
        _refuse(name, str(error))
    if code:
        sys.exit(code)


def _app(commands: tuple[Command, ...], asked: list[Callable[[], None]]) -> typer.Typer:
    app = typer.Typer(
        add_completion=len(commands) > 1, no_args_is_help=len(commands) > 1, rich_markup_mode=None, help=_HELP
    )
    for command in commands:
        app.command(command.__name__.replace("_", "-"))(_put_off(command, asked))
    return app


def _put_off(command: Command, asked: list[Callable[[], None]]) -> Command:
    @wraps(command)
    def ask(**arguments: Any) -> None:
        asked.append(partial(command, **arguments))

    return ask


_HELP = "Mixtral 8x7B in ttnn, on Tenstorrent's T3000 or without one."


def _refuse(name: str, message: str) -> None:
    if "\n" in message.strip():  # the help itself, where no command was named
        print(message, file=sys.stderr)
    else:
        sentence = message.strip().rstrip(".")
        print(f"{name}: {sentence[:1].lower()}{sentence[1:]}; see --help", file=sys.stderr)
    sys.exit(WRONG_USE)
