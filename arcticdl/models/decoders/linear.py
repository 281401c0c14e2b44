"""No decoder at all: the head looks at the finest level as it is."""

from arcticdl.models.contracts import Decoded, Decoder, Pyramid, pyramid_levels


def decode_linear(
    features: Pyramid, *, norm: str | None = None, activation: str = "relu"
) -> Decoded:
    """Hands on the finest level, for a head of one weight a channel.

    It fits backbones that answer for each pixel themselves, such as
    ``superpixel_graph``, and tells how far the features of others can be separated by
    planes.

    Args:
        features: Levels of a backbone; the finest is used.
        norm: Unused: there is nothing to normalise.
        activation: Likewise.

    Returns:
        What the heads are put on, at the finest level's stride.
    """
    (finest,) = pyramid_levels(features)
    return Decoded(features[f"P{finest}"], finest, kernel_size=1)


def _finest(levels: list[int]) -> list[int]:
    return levels[:1]


LINEAR = Decoder(decode_linear, levels=_finest)
