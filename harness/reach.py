"""How far into a tower the frozen model's numbers hold, whatever an adapter learns."""

from harness.tower import Tower
from methods.kit.rig import Rig

EMBEDDING = ("words", "patches", "class_token", "positions", "ln_pre", "tokens")
HEAD = ("ln_post", "pooled", "project")


def frozen_until(rig: Rig, tower: Tower) -> int:
    """The last point (see :class:`Tower`) that what hangs cannot change; -1 if there is none.

    What is reported of a site while watching must pass it, so it counts as touched.
    """
    depth = tower.shape.depth
    keys = [*rig.sites, *(report.key for report in rig.reports if report.key is not None)]
    points = [depth + 1]
    for name, layer, site in keys:
        if name == tower.shape.name:
            points.append(layer if layer is not None else depth if site in HEAD else -1)
    return min(points)
