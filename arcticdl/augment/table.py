"""The steps of a policy by name, listed without loading what they do."""

from arcticdl.choices import Table

AUGMENTATIONS = Table(
    "arcticdl.augmentations",
    {
        "affine": "arcticdl.augment.geometry:Affine",
        "band_dropout": "arcticdl.augment.dropout:BandDropout",
        "blur": "arcticdl.augment.dropout:Blur",
        "classmix": "arcticdl.augment.mixing:ClassMix",
        "clouds": "arcticdl.augment.optical:Clouds",
        "copy_paste": "arcticdl.augment.mixing:CopyPaste",
        "crop": "arcticdl.augment.geometry:Crop",
        "cutmix": "arcticdl.augment.mixing:CutMix",
        "elastic": "arcticdl.augment.warp:Elastic",
        "gain": "arcticdl.augment.radiometry:Gain",
        "gamma": "arcticdl.augment.radiometry:Gamma",
        "haze": "arcticdl.augment.optical:Haze",
        "hflip": "arcticdl.augment.geometry:HFlip",
        "hide_patches": "arcticdl.augment.dropout:HidePatches",
        "incidence_slope": "arcticdl.augment.sar:IncidenceSlope",
        "invert": "arcticdl.augment.radiometry:Invert",
        "mixup": "arcticdl.augment.mixing:MixUp",
        "noise": "arcticdl.augment.radiometry:Noise",
        "noise_floor": "arcticdl.augment.sar:NoiseFloor",
        "offset": "arcticdl.augment.radiometry:Offset",
        "quarter_turn": "arcticdl.augment.geometry:QuarterTurn",
        "resized_crop": "arcticdl.augment.geometry:ResizedCrop",
        "rotate": "arcticdl.augment.geometry:rotate",
        "scale": "arcticdl.augment.geometry:scale",
        "scalloping": "arcticdl.augment.sar:Scalloping",
        "sensor_dropout": "arcticdl.augment.dropout:SensorDropout",
        "shear": "arcticdl.augment.geometry:shear",
        "speckle": "arcticdl.augment.sar:Speckle",
        "style": "arcticdl.augment.style.transfer:Style",
        "subswath_seams": "arcticdl.augment.sar:SubswathSeams",
        "sun_angle": "arcticdl.augment.optical:SunAngle",
        "thermal_residue": "arcticdl.augment.sar:ThermalResidue",
        "translate": "arcticdl.augment.geometry:translate",
        "vflip": "arcticdl.augment.geometry:VFlip",
    },
)
"""Every step that a policy may name: a class or function of the step's arguments.

Packages beside this one add steps by entry points of the group
``arcticdl.augmentations``; what one makes keeps the protocol ``Augmentation`` or
``WholeBatch``.
"""
