"""What backbones, decoders and heads promise each other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras

Pyramid = dict[str, Any]
"""Levels of a backbone: ``Pk`` is a tensor ``(batch, y, x, channel)`` of stride
``2**k``."""

NORMS = ("batch", "group", "instance", "layer", "none")
"""Choices of ``norm``: batch statistics, groups of channels, single channels, all
channels of a pixel, or no normalisation (convolutions then have a bias)."""


class Decoded(NamedTuple):
    """What a decoder hands to the heads.

    Attributes:
        features: Tensor ``(batch, y, x, channel)`` at stride ``2**level``.
        level: Binary logarithm of its stride; the head enlarges its logits by it.
        kernel_size: Kernel of the head's convolution in the reference architecture.
        auxiliary: Coarser results for deep supervision, each with its own head.
        from_code: Whether all of it comes from the code of an autoencoder, so that no
            band of the image may be added to an answer.
    """

    features: Any
    level: int
    kernel_size: int
    auxiliary: tuple[Decoded, ...] = ()
    from_code: bool = False


@dataclass(frozen=True)
class Backbone:
    """One family of backbones, as ``BACKBONES`` holds it under each of its names.

    Attributes:
        build: Function ``(name, num_bands, **options)`` that returns a
            ``keras.Model`` named ``"backbone"``, without pretrained weights, from
            ``(batch, y, x, band)`` to a dict of levels.
        options_of: The function whose keyword-only arguments are the options, where
            ``build`` passes them on.
        tells_nodata: Whether its networks tell nodata by 0 in every band, so that no
            valid pixel may be scaled to it; see ``void.mark_shown``.

    Example:
        >>> def build(name, num_bands, *, width=8, drop_path=0.0): ...
        >>> Backbone(build).options
        ('drop_path', 'width')
        >>> Backbone(build).takes("output_stride")
        False
    """

    build: Callable[..., keras.Model]
    options_of: Callable[..., Any] | None = None
    tells_nodata: bool = False

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options, sorted."""
        return _keyword_names(self.options_of or self.build)

    def takes(self, option: str) -> bool:
        """Whether it has an option.

        Some are asked for by name: ``norm`` and ``activation`` (another one than
        published), ``drop_path`` (stochastic depth) and ``output_stride`` (dilation
        instead of the last halvings).
        """
        return option in self.options

    def check_options(self, name: str, given: Iterable[str]) -> None:
        """Refuses options that the family lacks.

        Args:
            name: Name of the backbone, for the message.
            given: Names of options.

        Raises:
            ValueError: One that it lacks.
        """
        _check_known("Backbone", name, given, self.options)


def all_levels(levels: list[int]) -> list[int]:
    """Returns every level, for decoders that climb step by step.

    Args:
        levels: Levels of a backbone, fine to coarse.

    Returns:
        The same list.
    """
    return levels


def levels_from_stride_4(levels: list[int]) -> list[int]:
    """Returns the levels from ``P2`` on, where detectors and most decoders begin.

    Args:
        levels: Levels of a backbone, fine to coarse.

    Returns:
        Those of stride 4 and coarser; the coarsest one where there are none.

    Example:
        >>> levels_from_stride_4([1, 2, 3, 4, 5]), levels_from_stride_4([0, 1])
        ([2, 3, 4, 5], [1])
    """
    return [level for level in levels if level >= 2] or levels[-1:]


@dataclass(frozen=True)
class Decoder:
    """One decoder, as ``DECODERS`` holds it.

    Attributes:
        build: Function ``(features, *, norm, activation, **options) -> Decoded`` of
            the levels that it asks for, of an image whose size is a multiple of the
            coarsest stride.
        levels: Which levels of those there are it uses. The others are cut from the
            backbone, so that no weight is left without a gradient.
        output_stride: Coarsest stride that it wants of a backbone that can dilate.
    """

    build: Callable[..., Decoded]
    levels: Callable[[list[int]], list[int]] = all_levels
    output_stride: int = 32

    @property
    def options(self) -> tuple[str, ...]:
        """Names of its options, sorted; ``norm`` and ``activation`` are among them."""
        return _keyword_names(self.build)

    def check_options(self, name: str, given: Iterable[str]) -> None:
        """Refuses options that the decoder lacks.

        Args:
            name: Name of the decoder, for the message.
            given: Names of options.

        Raises:
            ValueError: One that it lacks.
        """
        _check_known("Decoder", name, given, self.options)


def _keyword_names(function: Callable[..., Any]) -> tuple[str, ...]:
    parameters = inspect.signature(function).parameters
    return tuple(sorted(k for k, v in parameters.items() if v.kind is v.KEYWORD_ONLY))


def _check_known(
    kind: str, name: str, given: Iterable[str], options: tuple[str, ...]
) -> None:
    unknown = sorted(set(given) - set(options))
    if unknown:
        raise ValueError(
            f"{kind} {name!r} has the options {list(options)}. Received: {unknown}."
        )


def pyramid_levels(features: Pyramid) -> list[int]:
    """Returns the levels of a pyramid, fine to coarse.

    Args:
        features: Levels of a backbone, or anything by their names.

    Returns:
        Their numbers, binary logarithms of the strides.

    Example:
        >>> pyramid_levels({"P5": None, "P2": None})
        [2, 5]
    """
    return sorted(int(key[1:]) for key in features)
