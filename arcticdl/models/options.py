"""Options of the builders that belong together: style, regularisation, series."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from arcticdl.choices import check_choices

LATENTS = ("plain", "sparse_kl", "sparse_l1", "variational")
"""Kinds of code of an autoencoder; see ``Latent``."""

LEADS = ("conditioned", "direct", "rollout")
"""How the leads of a forecast are answered; see ``Series``."""


@dataclass(frozen=True)
class _Options:
    """Options that may also be given as a mapping, as a configuration file has them."""

    @classmethod
    def read(cls, value: "_Options | Mapping[str, Any] | None") -> Self:
        """The options from themselves, a mapping, or ``None`` for the defaults.

        Raises:
            ValueError: A name that is no option, or a value out of its range.
        """
        if isinstance(value, cls):
            return value
        given = dict(value or {})  # type: ignore[arg-type]
        check_choices(
            cls.__name__.lower(), list(given), [field.name for field in fields(cls)]
        )
        return cls(**given)


@dataclass(frozen=True)
class Style(_Options):
    """How layers are made, where a network leaves the choice.

    Attributes:
        norm: One of ``contracts.NORMS``, for the decoder, and for the backbone where it
            has a choice; ``None``: as published.
        activation: Keras activation name, likewise.
        initializer: Keras initializer for all kernels; ``None``: as published.

    Example:
        >>> Style.read({"norm": "group"})
        Style(norm='group', activation=None, initializer=None)
    """

    norm: str | None = None
    activation: str | None = None
    initializer: str | None = None

    @property
    def layers(self) -> dict[str, str | None]:
        """What decoders and detectors take by these names."""
        return {"norm": self.norm, "activation": self.activation or "relu"}


@dataclass(frozen=True)
class Regularization(_Options):
    """What keeps a network from learning its training data by heart.

    Attributes:
        dropout: Share of feature channels dropped before each head, in [0, 1).
        drop_path: Share of residual branches dropped in the deepest block of the
            backbone, growing from 0 in the first one, in [0, 1); ``None``: as
            published.
        l1: Factor of the kernels' absolute values in the loss.
        l2: Factor of their squares.
    """

    dropout: float = 0.0
    drop_path: float | None = None
    l1: float = 0.0
    l2: float = 0.0


@dataclass(frozen=True)
class Latent(_Options):
    """The code of an autoencoder, which all of the answer is made of.

    Attributes:
        size: Numbers of a place of the backbone's coarsest level.
        kind: One of ``LATENTS``; ``models.latents.code.LatentCode`` says what they are.
        weight: Factor of what the kind adds to the loss, not negative. Of a variational
            code and a squared error it is beta (Higgins et al. 2017) times twice the
            variance of a pixel's noise, in the label's units.
        warmup_steps: Batches over which that factor grows from 0, not negative.
        rate: How often each number of a ``sparse_kl`` code shall be on, in (0, 1).

    Raises:
        ValueError: An unknown kind, or a number out of its range.

    Example:
        >>> Latent.read({"size": 4, "kind": "variational"}).weight
        1.0
    """

    size: int = 8
    kind: str = "plain"
    weight: float = 1.0
    warmup_steps: int = 0
    rate: float = 0.05

    def __post_init__(self) -> None:
        check_choices("latent.kind", (self.kind,), LATENTS)
        rules = {
            "size": (self.size >= 1, "at least 1"),
            "weight": (0 <= self.weight < float("inf"), "finite and not negative"),
            "warmup_steps": (self.warmup_steps >= 0, "not negative"),
            "rate": (0 < self.rate < 1, "within (0, 1)"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise ValueError(
                    f"`latent.{name}` must be {rule}. Received: "
                    f"latent.{name}={getattr(self, name)}."
                )


@dataclass(frozen=True)
class Series(_Options):
    """Images in a series, ``(batch, time, y, x, band)``.

    Attributes:
        fusion: One of ``FUSIONS``; ``None``: no series.
        num_times: Images in a series; ``None``: any number.
        leads: How the leads of a forecast are answered. ``"direct"``: all at once, a
            head each. ``"conditioned"``: by one network that is called for each lead,
            told that lead and its context alone. ``"rollout"``: by a network of one
            step, called again with its own answers as the dates that come next, and
            trained through all steps.

    Raises:
        ValueError: Another word for ``leads``.
    """

    fusion: str | None = None
    num_times: int | None = None
    leads: str = "direct"

    def __post_init__(self) -> None:
        check_choices("series.leads", (self.leads,), LEADS)

    def of_dates(self, dates: int, num_bands: int) -> "Series":
        """The series of images that hold the bands of several dates.

        Args:
            dates: Dates in an image's bands; 1: no such images.
            num_bands: Bands of all dates.

        Raises:
            ValueError: Another number of times is asked for, or dates that do not
                divide the bands.
        """
        if dates == 1:
            return self
        if self.num_times not in (None, dates) or num_bands % dates:
            raise ValueError(
                f"The images hold {num_bands} bands of {dates} dates. Received: "
                f"num_times={self.num_times}. Leave `num_times` out."
            )
        return Series(self.fusion or "fold", dates, self.leads)
