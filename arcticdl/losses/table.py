"""The losses by name, listed without loading Keras."""

from arcticdl.choices import Table

LOSSES = Table(
    "arcticdl.losses",
    {
        "AnchorDetection": "arcticdl.losses.detection.matching:AnchorDetection",
        "BootstrappedCrossentropy": "arcticdl.losses.noisy:BootstrappedCrossentropy",
        "Boundary": "arcticdl.losses.boundary:Boundary",
        "BoxGIoU": "arcticdl.losses.boxes:BoxGIoU",
        "BoxIoU": "arcticdl.losses.boxes:BoxIoU",
        "CenterlineDice": "arcticdl.losses.boundary:CenterlineDice",
        "CentreDetection": "arcticdl.losses.detection.matching:CentreDetection",
        "Crossentropy": "arcticdl.losses.segmentation:Crossentropy",
        "CumulativeOrdinal": "arcticdl.losses.ordinal:CumulativeOrdinal",
        "Dice": "arcticdl.losses.region:Dice",
        "DiceCrossentropy": "arcticdl.losses.combined:DiceCrossentropy",
        "DiceFocal": "arcticdl.losses.combined:DiceFocal",
        "DominanceCrossentropy": "arcticdl.losses.weak:DominanceCrossentropy",
        "EarthMover": "arcticdl.losses.ordinal:EarthMover",
        "Focal": "arcticdl.losses.segmentation:Focal",
        "FocalTversky": "arcticdl.losses.region:FocalTversky",
        "GaussianLikelihood": "arcticdl.losses.regression:GaussianLikelihood",
        "Hinge": "arcticdl.losses.ordinal:Hinge",
        "Huber": "arcticdl.losses.regression:Huber",
        "Interval": "arcticdl.losses.weak:Interval",
        "Jaccard": "arcticdl.losses.region:Jaccard",
        "LogCosh": "arcticdl.losses.regression:LogCosh",
        "LovaszSoftmax": "arcticdl.losses.lovasz:LovaszSoftmax",
        "MeanAbsoluteError": "arcticdl.losses.regression:MeanAbsoluteError",
        "MeanSquaredError": "arcticdl.losses.regression:MeanSquaredError",
        "Proportion": "arcticdl.losses.weak:Proportion",
        "Quantile": "arcticdl.losses.regression:Quantile",
        "SymmetricCrossentropy": "arcticdl.losses.noisy:SymmetricCrossentropy",
        "Tversky": "arcticdl.losses.region:Tversky",
    },
)
"""Losses by name, each built from keyword arguments alone.

Packages beside this one add losses by entry points of the group ``arcticdl.losses``.
"""

NAMED_LOSSES = Table(
    LOSSES.group, {**LOSSES.entries, "Sum": "arcticdl.losses.combined:Sum"}
)
"""All that a configuration may name: these, and ``Sum``, which is built of others."""

HEAD_WEIGHTS = Table(
    None,
    {
        "gradnorm": "arcticdl.losses.multitask:GradNormWeights",
        "uncertainty": "arcticdl.losses.multitask:UncertaintyWeights",
    },
)
"""How the weights of several heads' losses are learnt, each a layer."""
