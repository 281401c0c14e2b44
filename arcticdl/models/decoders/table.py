"""The table of decoders: from a pyramid of features back to one feature map.

A decoder is a function ``(features, *, norm, activation, **options) -> Decoded`` on
the levels that it asks for, of an image whose size is a multiple of the coarsest
stride.
"""

from collections.abc import Callable
from typing import NamedTuple

from arcticdl.models.contracts import Decoded
from arcticdl.models.decoders.context import decode_deeplabv3plus, decode_pspnet
from arcticdl.models.decoders.pyramid import (
    decode_fpn,
    decode_segformer,
    decode_upernet,
)
from arcticdl.models.decoders.unet import (
    decode_linknet,
    decode_unet,
    decode_unetplusplus,
)


class Decoder(NamedTuple):
    """One entry of ``DECODERS``.

    Attributes:
        build: The function.
        levels: Which levels of those there are it uses. The others are cut from the
            backbone, so that no weight is left without a gradient.
        output_stride: Coarsest stride that it wants of a backbone that can dilate.
    """

    build: Callable[..., Decoded]
    levels: Callable[[list[int]], list[int]]
    output_stride: int = 32


def _all(levels: list[int]) -> list[int]:
    return levels


def _from_stride_4(levels: list[int]) -> list[int]:
    return [level for level in levels if level >= 2] or levels[-1:]


def _coarsest(levels: list[int]) -> list[int]:
    return levels[-1:]


def _finest_and_coarsest(levels: list[int]) -> list[int]:
    used = _from_stride_4(levels)
    return sorted({used[0], used[-1]})


DECODERS: dict[str, Decoder] = {
    "deeplabv3plus": Decoder(decode_deeplabv3plus, _finest_and_coarsest, 16),
    "fpn": Decoder(decode_fpn, _from_stride_4),
    "linknet": Decoder(decode_linknet, _all),
    "pspnet": Decoder(decode_pspnet, _coarsest, 8),
    "segformer": Decoder(decode_segformer, _from_stride_4),
    "unet": Decoder(decode_unet, _all),
    "unetplusplus": Decoder(decode_unetplusplus, _all),
    "upernet": Decoder(decode_upernet, _from_stride_4),
}
"""Name -> the decoder's function and the levels that it uses."""
