"""The model behind HTTP."""

import os
import sys
from contextlib import AbstractContextManager
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from models.mixtral8x7b.cli.app import UsageMistake
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.options import CacheOnly, Checkpoint, Chips, Fabric, Precision, Target, settings_with
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target

if TYPE_CHECKING:
    from models.mixtral8x7b.cli.served import Served

FAILED = 70  # exit code, sysexits' for a fault inside: a supervisor starts it again
TINY_CONTEXT = 4096


def serve(
    host: Annotated[str, Option(metavar="ADDRESS", help="0.0.0.0 or :: is every one of this machine's.")] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, metavar="N", help="0 takes a free one.")] = 8080,
    api_key: Annotated[
        str | None,
        Option(metavar="KEY", help="Whoever asks must have it; others can see it in `ps`.", show_default=False),
    ] = None,
    api_key_file: Annotated[Path | None, Option(metavar="FILE", help="The key is in it.", show_default=False)] = None,
    without_key: Annotated[
        bool, Option("--without-key", help="Let everybody ask who can reach a public address.")
    ] = False,
    model_name: Annotated[str, Option(metavar="NAME", help="By which clients know the model.")] = "mixtral",
    model_config: Annotated[
        Path | None,
        Option(metavar="FILE.yaml", help="TorchServe's, for /predictions and the checkpoint.", show_default=False),
    ] = None,
    users: Annotated[
        int,
        Option(
            min=1, max=32, metavar="N", help="Full contexts that the KV cache has room for, with stages each group's."
        ),
    ] = 32,
    queue: Annotated[int, Option(min=1, metavar="N", help="Requests that may wait; more are refused (429).")] = 1024,
    pass_tokens: Annotated[
        int,
        Option(metavar="N", help="Most prompt tokens at a time while answers wait for them: 256, 512, .. 16384."),
    ] = 2048,
    prefix_cache: Annotated[bool, Option(help="Keep what prompts have in common.")] = True,
    experts: Annotated[
        bool, Option("--experts", help="Requests may ask which experts each token went to, as the page then does.")
    ] = False,
    cors: Annotated[
        list[str] | None,
        Option(metavar="ORIGIN", help="Pages that may ask, * for all; may be given several times.", show_default=False),
    ] = None,
    drain: Annotated[float, Option(min=0, metavar="S", help="Seconds that answers have to end after SIGTERM.")] = 30,
    context: Annotated[
        int | None,
        Option(
            metavar="TOKENS",
            help=f"Prompt and answer together (default: {TINY_CONTEXT} with the tiny checkpoint, else as many as the "
            "model was made for).",
            show_default=False,
        ),
    ] = None,
    stages: Annotated[
        int, Option(min=1, metavar="N", help="Cut the layers into N stages, with N groups of 32 rows in turns.")
    ] = 1,
    ray: Annotated[
        str | None,
        Option(
            metavar="ADDRESS",
            help="Stages on the machines of this Ray cluster; auto is the one that this machine belongs to.",
            show_default=False,
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
    cache_only: CacheOnly = False,
) -> None:
    """Serve the model to clients of OpenAI's interface.

    docs/serving.md lists what is offered. SIGTERM and Ctrl-C let those who are being answered end; a second time ends
    at once.
    """
    key = read_key(api_key, api_key_file)
    if key is None and not without_key and not _is_private(host):
        raise UsageMistake(
            f"--host is {host}, where others can reach it, and there is no key; set --api-key-file, or --without-key"
        )
    target = chosen_target(target)
    _check_stages(stages, ray, experts, target)
    config = None
    if model_config is not None:
        from models.mixtral8x7b.server.model_config import read_model_config

        config = read_model_config(model_config)
        checkpoint = checkpoint or config.checkpoint
        if config.ignored:
            print(
                f"mixtral: {model_config} has keys without a meaning here: {', '.join(config.ignored)}", file=sys.stderr
            )
    if context is None and settings_with(checkpoint).checkpoint is None:
        context = TINY_CONTEXT
    options = ModelOptions(checkpoint, precision, target, chips, fabric, cache_only, context)
    use_target(target, chips)
    from models.mixtral8x7b.cli.served import Prepared
    from models.mixtral8x7b.engine.engine import Options
    from models.mixtral8x7b.server.lifecycle import Server, bound_socket
    from models.mixtral8x7b.server.service import Service
    from models.mixtral8x7b.server.torchserve import USUAL

    how = Options(queue, pass_tokens, prefix_cache)
    with bound_socket(host, port) as taken:
        address = f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
        model = Prepared(options)
        print(f"mixtral: {model.title} ({model.note})", file=sys.stderr, flush=True)
        serving: AbstractContextManager[Served]
        if stages > 1:
            from models.mixtral8x7b.cli.staged import serving_in_stages

            serving = serving_in_stages(model, stages, users, how, ray)
        else:
            serving = model.serving([model.max_context] * users, how, notes_experts=experts)
        with serving as served:
            service = Service(
                served.engine, served.tokenizer, served.max_context, model_name, key, allowed_origins=tuple(cors or ())
            )
            failure = Server(
                service,
                taken,
                drain,
                on_ready=lambda: print(f"mixtral: serving on {address}", file=sys.stderr, flush=True),
                torchserve=config.options if config else USUAL,
            ).run()
            if failure is not None:  # chips that hang could hold up an orderly end for ever
                print(f"mixtral: {failure}", file=sys.stderr, flush=True)
                os._exit(FAILED)
    print("mixtral: stopped", file=sys.stderr)


def read_key(given: str | None, file: Path | None) -> str | None:
    """What is given, or stands in the file; raises UsageMistake for both, and for what is no key."""
    if given is not None and file is not None:
        raise UsageMistake("--api-key and --api-key-file are both given; expected one of them")
    where = "--api-key" if file is None else str(file)
    key = given if file is None else file.read_text(encoding="utf-8").strip()
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        raise UsageMistake(f"the key of {where} is empty or no key; expected printable ASCII without spaces")
    return key


def _check_stages(stages: int, ray: str | None, experts: bool, target: str) -> None:
    if stages == 1 and ray is not None:
        raise UsageMistake("--ray is given and --stages is 1; expected at least 2 stages: one for each machine")
    if stages > 1 and experts:
        raise UsageMistake("--experts and --stages are both given; stages note no experts: leave one of them out")
    if stages > 1 and ray is None and target == "device":
        raise UsageMistake(
            f"--stages is {stages} on this machine's chips, which only one process can open; expected --ray and as "
            "many machines: docs/pipeline.md"
        )


def _is_private(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
