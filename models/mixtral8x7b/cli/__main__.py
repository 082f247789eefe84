"""All commands: `./mixtral --help`, or `python -m models.mixtral8x7b.cli`."""

from models.mixtral8x7b.program import program


@program("mixtral")
def main() -> None:
    from models.mixtral8x7b.cli.app import run
    from models.mixtral8x7b.cli.bench import bench
    from models.mixtral8x7b.cli.chat import chat
    from models.mixtral8x7b.cli.cost import cost
    from models.mixtral8x7b.cli.download import download
    from models.mixtral8x7b.cli.first_light import first_light
    from models.mixtral8x7b.cli.generate import generate
    from models.mixtral8x7b.cli.plan import plan
    from models.mixtral8x7b.cli.repack import repack
    from models.mixtral8x7b.cli.serve import serve
    from models.mixtral8x7b.cli.warm_up import warm_up

    run("mixtral", plan, download, repack, warm_up, generate, chat, serve, bench, cost, first_light)


if __name__ == "__main__":
    main()
