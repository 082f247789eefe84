"""`make demo`: 32 users' questions, prefilled and answered by the ttnn model.

.venv/bin/python -m demo [--help]
"""

import argparse
from pathlib import Path

from models.mixtral8x7b.machine import chosen_machine
from models.mixtral8x7b.program import program
from models.mixtral8x7b.settings import Settings
from models.mixtral8x7b.target import T3000_CHIPS, TARGETS, chosen_target, use_target


@program("demo")
def main() -> None:
    settings = Settings.from_environment()
    parser = argparse.ArgumentParser(prog="demo", description="Answers the demo prompts with the ttnn model.")
    parser.add_argument("--target", help=f"{', '.join(TARGETS)} (default: MIXTRAL_TARGET, else device where chips are)")
    parser.add_argument("--chips", type=int, default=T3000_CHIPS, metavar="N", help="1, 2, 4 or 8 (default: 8)")
    parser.add_argument("--fabric", help="ring or line, which joins the chips (default: MIXTRAL_FABRIC, else ring)")
    parser.add_argument("--kind", choices=("instruct", "general"), default="instruct", help="prompts and template")
    parser.add_argument("--context", type=int, default=128, metavar="TOKENS", help="prompt and answer (default: 128)")
    parser.add_argument("--users", type=int, metavar="N", help="1 to 32 (default: what the original demo had)")
    parser.add_argument("--max-new-tokens", type=int, default=50, metavar="N", help="for each user (default: 50)")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help='a JSON list of {"prompt": "..."}')
    parser.add_argument("--prefill", type=int, metavar="N", help="prompt tokens to prefill, the rest is decoded (all)")
    parser.add_argument("--precision", default="performance", help="performance (default), accuracy, mixed or bfp4")
    parser.add_argument("--warm-up", action="store_true", help="fill and check the weight cache, no answers")
    parser.add_argument("--cache-only", action="store_true", help="refuse to convert weights: the cache must be whole")
    arguments = parser.parse_args()
    if arguments.warm_up and (arguments.users or arguments.prompts or arguments.prefill is not None):
        parser.error("--warm-up answers nothing: it takes no --users, --prompts or --prefill")
    target = chosen_target(arguments.target)
    use_target(target, arguments.chips)

    # only now may ttnn be imported
    from demo.run import DemoOptions, run_demo, warm_up
    from models.mixtral8x7b.tt.mesh import open_mesh

    options = DemoOptions(
        is_instruct=arguments.kind == "instruct",
        context=arguments.context,
        n_users=arguments.users,
        max_new_tokens=arguments.max_new_tokens,
        prompts=arguments.prompts,
        prefill=arguments.prefill,
        precision=arguments.precision,
        cache_only=arguments.cache_only,
    )
    with open_mesh(arguments.chips, chosen_machine(target, arguments.fabric).fabric) as mesh:
        if arguments.warm_up:
            warm_up(options, settings, mesh)
        else:
            run_demo(options, settings, mesh, target)


if __name__ == "__main__":
    main()
