"""The weight cache, filled or checked."""

from models.mixtral8x7b.cli.options import CacheOnly, Checkpoint, Chips, Fabric, Precision, Target, settings_with
from models.mixtral8x7b.machine import chosen_machine
from models.mixtral8x7b.target import T3000_CHIPS, chosen_target, use_target


def warm_up(
    checkpoint: Checkpoint = None,
    precision: Precision = "performance",
    target: Target = None,
    chips: Chips = T3000_CHIPS,
    fabric: Fabric = None,
    cache_only: CacheOnly = False,
) -> None:
    """Fill the weight cache, and check every byte of it.

    Weights are converted into the chips' format once; later starts load what this has written. With --cache-only it
    only checks.
    """
    settings = settings_with(checkpoint)
    target = chosen_target(target)
    use_target(target, chips)
    from models.mixtral8x7b.tt.loading import fill_cache
    from models.mixtral8x7b.tt.mesh import open_mesh
    from models.mixtral8x7b.tt.precision import preset

    machine = chosen_machine(target, fabric)
    with open_mesh(chips, machine.fabric) as mesh:
        print(fill_cache(settings, None, preset(precision, machine), mesh, cache_only))
