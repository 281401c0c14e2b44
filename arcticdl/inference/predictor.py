"""Models made ready to answer: loaded, checked and compiled once for many scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.errors import BandNotFoundError, TaskError
from arcticdl.inference.forward import (
    NOVELTY,
    OF_CODE,
    TTA,
    Answers,
    Forward,
    Member,
    SourcePixels,
    build_forward,
)
from arcticdl.inference.gaps.layers import keep_observed, with_gaps
from arcticdl.inference.lines import LineRule
from arcticdl.inference.load import load_model
from arcticdl.inference.maps import MapLayer, plan_layers
from arcticdl.models.card import get_card, model_heads
from arcticdl.scene import BandStats, check_scene, scene_band_stats
from arcticdl.tasks import Head
from arcticdl.tiles import Normalizer
from arcticdl.training.orient import refuse_rising, refuse_vectors

AnyModel: TypeAlias = keras.Model | str | Path


class Predictor:
    """One model or several, ready to answer about any number of scenes.

    Args:
        model: A Keras model, or the path of a ``.keras`` file; or several of the same
            bands and heads, such as those of all folds, whose answers are averaged.
        normalizer: Scaling of the bands; default: the one in each model's card.
        tile_size_px: Window, in px, one number or (rows, columns); default: the card's
            tile size, else 256.
        batch_size: Windows in one call of the model.
        tta: Views that are averaged: ``"none"``, ``"hflip"``, ``"d4"``, and with the
            contrast turned round as well ``"invert"``, ``"hflip+invert"``,
            ``"d4+invert"``, of networks scaled image by image.
        outputs: Names of outputs; ``None``: what each head's task shows, and the
            probabilities from which a line is traced.
        with_spread: Whether the members' disagreement is shown as well.
        mc_dropout: Passes with dropout left on, which count as members.
        line: Class that stands for a line, or a ``LineRule`` or its keys; ``False``:
            none is traced, whatever the card says; default: what the card says, if
            anything.
        thresholds: Class -> least probability, of maps of classes.
        postprocess: Steps that mend finished maps of classes.
        jit_compile: Whether XLA compiles the forward pass; ``None``: where it helps.

    Attributes:
        heads: Name -> what it answers.
        members: The models, each with its scaling.
        layers: What is written of them.
        window: (rows, columns) of a window, in px.
        averaged: The views and passes that an answer is the mean of.

    Raises:
        ValueError: No model, models of different bands or heads, no normaliser,
            ``"spread"`` and its kin of a single member, passes of a network without
            dropout, an unknown option, or a threshold, step or line that fits no map;
            several models, views or passes of a head that draws members.
        FileNotFoundError: A path without a file.
        TaskError: The model finds objects; see ``find_objects``.
    """

    def __init__(
        self,
        model: AnyModel | Sequence[AnyModel],
        *,
        normalizer: Normalizer | None = None,
        tile_size_px: int | tuple[int, int] | None = None,
        batch_size: int = 4,
        tta: str = "none",
        outputs: Sequence[str] | None = None,
        with_spread: bool = False,
        mc_dropout: int | None = None,
        line: LineRule | Mapping[str, Any] | str | Literal[False] | None = None,
        thresholds: Mapping[str, float] | None = None,
        postprocess: Sequence[Mapping[str, Any]] = (),
        jit_compile: bool | None = None,
    ) -> None:
        check_names(outputs=outputs)
        models = load_all(model)
        self.card, self.heads = in_common(models)
        _refuse_objects(self.heads)
        told = LineRule.read((self.card or {}).get("line"))
        self.line = None if line is False else LineRule.read(line) or told
        if self.line is not None:
            self.line.head_of({name: h.classes for name, h in self.heads.items()})
        if outputs is None:
            outputs = self._shown(with_spread)
        scalings = [choose_normalizer(normalizer, get_card(m)) for m in models]
        planned = plan_layers(self.heads, outputs, thresholds, postprocess)
        self.layers = keep_observed(_novelty_once(planned), self.card)
        _check_members(self.layers, len(models), tta, mc_dropout)
        refuse_means(self.heads, len(models), tta, mc_dropout)
        views = TTA.get(tta, ())
        if any(view.turns or view.flip for view in views):
            for name, head in self.heads.items():
                refuse_vectors(name, head.outputs)
        self._turns = any(view.turns % 2 for view in views)
        self.averaged = {"tta": tta, "mc_dropout": mc_dropout}
        self.window = window_size(tile_size_px, self.card)
        self.batch_size = batch_size
        self._needs_stats = any(n.needs_image_stats for n in scalings)
        self.members = [Member(m, n) for m, n in zip(models, scalings, strict=True)]
        self.forward = build_forward(
            self.members,
            self.heads,
            tta=tta,
            batch_size=batch_size,
            jit_compile=jit_compile,
            spread=any(layer.output.reads in _OF_MEMBERS for layer in self.layers),
            mc_dropout=mc_dropout,
        )
        reads = {layer.output.reads for layer in self.layers}
        if "novelty" in reads:
            self.forward = self._with_novelty(model, self.forward)
        if reads & set(OF_CODE):
            self._tell_codes(model, reads & set(OF_CODE))

    def _tell_codes(self, model: Any, wanted: set[str]) -> None:
        """Makes the forward pass tell what the code of an autoencoder tells."""
        from arcticdl.inference.anomalies import measure
        from arcticdl.plots import default_colors

        (network, normalizer), *_ = self.members
        found = measure.find_anomalies(model, network, wanted)
        self.forward = measure.with_codes(
            self.forward, network, normalizer, found, wanted
        )
        count, size = len(found.centres), measure.Codes(network).parts.size
        named: dict[str, dict[str, Any]] = {
            "latent": {"outputs": tuple(str(n + 1) for n in range(size))}
        }
        if "cluster" in wanted:
            names = tuple(f"cluster {number + 1}" for number in range(count))
            named["cluster"] = {"classes": names, "colors": default_colors(count)}
        self.layers = [
            replace(layer, head=replace(layer.head, **named.get(layer.kind, {})))
            for layer in self.layers
        ]

    def _with_novelty(self, model: Any, forward: Forward) -> Forward:
        """The forward pass, with how unlike the training scenes its pictures are."""
        from arcticdl.inference.novelty.find import find_novelty

        novelty, features = find_novelty(model, self.members[0].model)
        dense = any(head.spec.dense for head in self.heads.values())

        def measured(image: Any, valid: Any, stats: BandStats | None) -> Answers:
            scaled = self.members[0].normalizer(image, valid, stats)
            if dense:
                found = features.map(novelty, scaled)
            else:
                means = [
                    novelty.score(rows).mean() if len(rows) else 0.0
                    for rows in features.places(scaled, valid)
                ]
                found = np.array(means, np.float32)[:, None]
            return forward(image, valid, stats) | {NOVELTY: found}

        return measured

    def _shown(self, with_spread: bool) -> tuple[str, ...]:
        shown = [name for head in self.heads.values() for name in head.form.shown]
        shown += ["spread"] if with_spread else []
        shown += ["prob"] if self.line else []
        return tuple(dict.fromkeys(shown))

    def layers_of(self, target: str) -> list[MapLayer]:
        """What is written of the heads that answer for each pixel, or each image.

        Args:
            target: ``"pixel"`` or ``"image"``.

        Raises:
            TaskError: No head does; the message names the function for the others.
        """
        layers = [a for a in self.layers if a.head.spec.target == target]
        if not layers:
            names = ("predict_scene", "predict_images")
            here, there = names if target == "pixel" else names[::-1]
            tasks = {name: head.task for name, head in self.heads.items()}
            raise TaskError(
                f"`{here}` needs a head that answers for each {target}; `{there}` is "
                f"for the others. Received: {tasks}."
            )
        return layers

    def prepare(
        self, scene: xr.Dataset, image_stats: BandStats | None
    ) -> tuple[xr.Dataset, BandStats | None]:
        """A checked scene with the card's bands, and its statistics where needed.

        Raises:
            SceneError: The scene breaks its contract.
            BandNotFoundError: It lacks a band of the card.
            ValueError: Views turn its vectors, and its rows run to the north.
        """
        scene = choose_bands(with_gaps(check_scene(scene), self.card), self.card)
        if self._turns:
            refuse_rising(scene)
        if image_stats is None and self._needs_stats:
            image_stats = scene_band_stats(scene)
        return scene, image_stats


def _refuse_objects(heads: Mapping[str, Head]) -> None:
    """Refuses a model that answers with boxes, which nothing here averages.

    Raises:
        TaskError: It does.
    """
    tasks = {n: h.task for n, h in heads.items() if h.spec.target == "object"}
    if tasks:
        raise TaskError(
            "Maps, tables, calibration and labelling need heads that answer for pixels "
            "or images; `find_objects` is for models that find objects. Received: "
            f"{tasks}."
        )


def load_all(model: AnyModel | Sequence[AnyModel]) -> list[keras.Model]:
    """One model or several, those given by a path from their files.

    Raises:
        ValueError: None is given, or a file holds no model.
        FileNotFoundError: A path without a file.
    """
    given = [model] if isinstance(model, keras.Model | str | Path) else list(model)
    if not given:
        raise ValueError("`model` must be at least one model. Received: none.")
    return [m if isinstance(m, keras.Model) else load_model(m) for m in given]


def in_common(
    models: list[keras.Model],
) -> tuple[dict[str, Any] | None, dict[str, Head]]:
    """Card and heads that all share; the scaling each keeps for itself.

    Args:
        models: At least one.

    Returns:
        The first one's card, and the heads by name; of several models without the
        calibration of sets, which holds for each alone.

    Raises:
        ValueError: Bands or heads differ.
    """
    card, heads = get_card(models[0]), model_heads(models[0])
    if len(models) == 1:
        return card, heads
    heads = _uncalibrated(heads)
    for number, model in enumerate(models[1:], start=2):
        bands = [(c or {}).get("bands") for c in (card, get_card(model))]
        for what, one, other in (
            ("bands", *bands),
            ("heads", heads, _uncalibrated(model_heads(model))),
        ):
            if one != other:
                raise ValueError(
                    f"Models that answer together must have the same {what}. Received: "
                    f"{one} of the first, {other} of number {number}."
                )
    return card, heads


def _uncalibrated(heads: Mapping[str, Head]) -> dict[str, Head]:
    return {name: replace(head, conformal=None) for name, head in heads.items()}


_OF_MEMBERS = ("spread", "both")
"""What outputs read that need several members."""


def _novelty_once(layers: list[MapLayer]) -> list[MapLayer]:
    """Novelty is the network's and no head's: the first head that can writes it."""
    of = [layer for layer in layers if layer.output.reads == "novelty"]
    of.sort(key=lambda layer: not layer.head.spec.dense)
    rest = [layer for layer in layers if layer not in of]
    return rest + [replace(layer, name="novelty") for layer in of[:1]]


def _check_members(
    layers: Sequence[MapLayer], num_models: int, tta: str, mc_dropout: int | None
) -> None:
    if mc_dropout is not None and mc_dropout < 2:
        raise ValueError(
            "`mc_dropout` must be at least 2 passes, or None. "
            f"Received: mc_dropout={mc_dropout}."
        )
    asked = [layer.kind for layer in layers if layer.output.reads in _OF_MEMBERS]
    several = num_models > 1 or len(TTA.get(tta, ())) != 1 or mc_dropout is not None
    if asked and not several:
        raise ValueError(
            f"`outputs` with {asked[0]!r} needs several members to disagree: pass "
            "several models, tta='d4', or mc_dropout=20. Received: one model, "
            f"tta={tta!r}, mc_dropout=None."
        )


def refuse_means(
    heads: Mapping[str, Head],
    num_models: int,
    tta: str = "none",
    mc_dropout: int | None = None,
) -> None:
    """Refuses means of members, each of which is an image that could be.

    The mean of two is blurred and could not be, and such means lie too close together.
    """
    drawn = [name for name, head in heads.items() if head.spec.kind == "members"]
    if drawn and (num_models > 1 or tta != "none" or mc_dropout is not None):
        raise ValueError(
            f"Members that a network draws, of {drawn}, are no more images that could "
            "be once they are averaged over networks, views or passes. Received: "
            f"{num_models} models, tta={tta!r}, mc_dropout={mc_dropout}. Take one "
            "model (--fold K), tta='none' and no mc_dropout."
        )


def choose_normalizer(
    normalizer: Normalizer | None, card: dict[str, Any] | None
) -> Normalizer | SourcePixels:
    """The scaling of a model's bands: what is given, or what its card says.

    Raises:
        ValueError: There is none, or one beside an ensemble's own.
    """
    inside = bool(card and card.get("activated") and not card.get("normalizer"))
    if inside and normalizer is not None:
        raise ValueError(
            "An ensemble scales its members' input by itself. "
            f"Received: normalizer={normalizer!r}. Leave it out."
        )
    if inside:
        return SourcePixels()
    if normalizer is not None:
        return normalizer
    if card is None or not card.get("normalizer"):
        raise ValueError(
            "The model carries no card, so its scaling of the bands is unknown and "
            "the map would be wrong. Pass `normalizer=feed.normalizer`, or build the "
            "model with `card=feed.card`."
        )
    return Normalizer.from_dict(card["normalizer"])


def choose_bands(scene: xr.Dataset, card: dict[str, Any] | None) -> xr.Dataset:
    """The scene with the bands of a card, in its order.

    Raises:
        BandNotFoundError: It lacks one.
    """
    if not card or not card.get("bands"):
        return scene
    wanted, present = list(card["bands"]), [str(b) for b in scene["band"].values]
    missing = [band for band in wanted if band not in present]
    if missing:
        raise BandNotFoundError(
            f"The model needs bands {wanted}. Missing: {missing}; the scene has "
            f"{present}. Name them with `open_scene(..., band_names=...)`."
        )
    return scene.sel(band=wanted)


def window_size(
    tile_size_px: int | tuple[int, int] | None, card: dict[str, Any] | None
) -> tuple[int, int]:
    """Rows and columns of a window: those given, the card's, or 256."""
    size = tile_size_px or (card or {}).get("tile_size_px") or 256
    height, width = (size, size) if isinstance(size, int) else size
    return int(height), int(width)
