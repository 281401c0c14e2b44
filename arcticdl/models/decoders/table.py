"""The decoders by name, listed without loading Keras."""

from arcticdl.choices import Table
from arcticdl.models.contracts import Decoder

DECODERS = Table(
    "arcticdl.decoders",
    {
        "deeplabv3plus": "arcticdl.models.decoders.context:DEEPLABV3PLUS",
        "fpn": "arcticdl.models.decoders.pyramid:FPN",
        "linear": "arcticdl.models.decoders.linear:LINEAR",
        "linknet": "arcticdl.models.decoders.unet:LINKNET",
        "pspnet": "arcticdl.models.decoders.context:PSPNET",
        "segformer": "arcticdl.models.decoders.pyramid:SEGFORMER",
        "unet": "arcticdl.models.decoders.unet:UNET",
        "unetplusplus": "arcticdl.models.decoders.unet:UNETPLUSPLUS",
        "upernet": "arcticdl.models.decoders.pyramid:UPERNET",
    },
    kind=Decoder,
)
"""Name -> its ``Decoder``, the record of its function and of the levels that it uses.

Packages beside this one add decoders by entry points of the group
``arcticdl.decoders``, each a ``Decoder``.
"""
