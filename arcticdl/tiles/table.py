"""Normalisers, splitters and samplers by name, listed without loading what they do."""

from arcticdl.choices import Table

NORMALIZERS = {
    "constants": "(x - offset) / scale with given constants a band",
    "db": "decibels, then median 0 and spread 1; for linear radar intensities",
    "log": "log(1 + x), then median 0 and spread 1; for x >= 0",
    "minmax": "least value 0, greatest 1",
    "none": "source units",
    "per_image": "mean 0, deviation 1 over each whole image",
    "per_image_mode": "commonest value 0, root mean square 1 over each whole image",
    "per_image_robust": "median 0, spread 1 over each whole image",
    "percentile": "2nd percentile 0, 98th 1, clipped",
    "robust": "median 0, spread 1",
    "zscore": "mean 0, deviation 1 over the training fold",
}
"""The methods. *Spread* is the interquartile range over 1.349 (the deviation of a
normal distribution)."""

SPLITTERS = Table(
    None,
    {
        "block": "arcticdl.tiles.folds.splitters:SpatialBlockKFold",
        "bootstrap": "arcticdl.tiles.folds.splitters:GroupBootstrap",
        "given": "arcticdl.tiles.folds.given:GivenSplit",
        "group": "arcticdl.tiles.folds.splitters:GroupedKFold",
        "hold_out": "arcticdl.tiles.folds.splitters:HoldOut",
        "leave_one_out": "arcticdl.tiles.folds.splitters:LeaveOneGroupOut",
        "nested": "arcticdl.tiles.folds.splitters:NestedKFold",
        "stable": "arcticdl.tiles.folds.stable:StableKFold",
        "time": "arcticdl.tiles.folds.splitters:TimeBlockKFold",
    },
)
"""Name -> the splitter's class."""

SAMPLERS = Table(
    None,
    {
        "class_balance": "arcticdl.tiles.samplers:class_balance",
        "curriculum": "arcticdl.tiles.samplers:curriculum",
        "objects": "arcticdl.tiles.samplers:objects",
        "rarity": "arcticdl.tiles.samplers:rarity",
        "uniform": "arcticdl.tiles.samplers:uniform",
    },
)
"""Name -> function ``(store, indices, label, *, options) -> sampler`` for a feed."""

WEIGHTINGS = ("effective_number", "inverse", "median_frequency", "none")
"""How classes can be weighted; see ``class_weights``."""
