"""Answers about whole images: one class, value or set of labels a scene."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from arcticdl.choices import check_names
from arcticdl.inference.blend import window_starts
from arcticdl.inference.forward import Answers
from arcticdl.inference.maps import MapLayer
from arcticdl.inference.predictor import AnyModel, Predictor
from arcticdl.inference.strips import read_strips
from arcticdl.progress import track
from arcticdl.scene import BandStats
from arcticdl.tiles import Normalizer


def predict_images(
    model: AnyModel | Sequence[AnyModel],
    scenes: Iterable[xr.Dataset],
    *,
    normalizer: Normalizer | None = None,
    tile_size_px: int | tuple[int, int] | None = None,
    batch_size: int = 8,
    tta: str = "none",
    mc_dropout: int | None = None,
    outputs: Sequence[str] | None = None,
    progress: bool = True,
) -> xr.Dataset:
    """Answers for whole scenes with a classifier, a regressor or their kin.

    A scene larger than a window is cut into windows of the size that the network was
    trained on; their answers (probabilities, values) are averaged, each weighed by its
    valid pixels, and the class is chosen last.

    Args:
        model: A Keras model, the path of a ``.keras`` file, or several of the same
            bands and heads, whose answers are averaged.
        scenes: Scenes, opened lazily; read one after the other.
        normalizer: Scaling of the bands; default: the one in each model's card.
        tile_size_px: Window, in px; default: the card's tile size, else 256.
        batch_size: Windows in one call of the model.
        tta: Views averaged: ``"none"``, ``"hflip"``, ``"d4"``, and with the contrast
            turned round as well ``"invert"``, ``"hflip+invert"``, ``"d4+invert"``.
        mc_dropout: As in ``predict_scene``, and so are the outputs.
        outputs: What is answered.
        progress: Whether to show a progress bar.

    Returns:
        Dataset along ``scene`` (a coordinate of names) with the outputs as variables:
        ``class (scene)``, ``prob (scene, prob_class)``, ``value (scene)`` and so on,
        prefixed by the head's name where there are several. A scene without a valid
        pixel has nodata: 255 or NaN.

    Raises:
        ValueError: No scene, or as in ``predict_scene``.
        TaskError: A head answers for each pixel; see ``predict_scene``.
        BandNotFoundError: A scene lacks a band of the card.
    """
    check_names(outputs=outputs)
    predictor = Predictor(
        model,
        normalizer=normalizer,
        tile_size_px=tile_size_px,
        batch_size=batch_size,
        tta=tta,
        mc_dropout=mc_dropout,
        outputs=outputs,
    )
    return answer_images(predictor, scenes, progress=progress)


def answer_images(
    predictor: Predictor, scenes: Iterable[xr.Dataset], *, progress: bool = True
) -> xr.Dataset:
    """Answers for whole scenes with models that are ready; see ``predict_images``.

    Args:
        predictor: The models.
        scenes: Scenes, opened lazily.
        progress: Whether to show a progress bar.

    Returns:
        As ``predict_images``.

    Raises:
        ValueError: No scene.
        TaskError: No head answers for images.
    """
    layers = predictor.layers_of("image")
    names: list[str] = []
    found: list[Answers] = []
    for scene in track(list(scenes), "predict", shown=progress):
        names.append(str(scene.attrs.get("scene_id", len(names))))
        found.append(answer_image(predictor, scene))
    if not found:
        raise ValueError("`scenes` must hold at least one scene. Received: none.")
    return _table(layers, names, found)


def answer_image(
    predictor: Predictor, scene: xr.Dataset, image_stats: BandStats | None = None
) -> Answers:
    """The averaged answers for one scene.

    Args:
        predictor: Models whose heads answer for images.
        scene: The scene.
        image_stats: Its statistics, for a per-image normaliser.

    Returns:
        (1, channel) float32 by head name, and by ``spread_of(head)``; empty for a scene
        without a valid pixel.
    """
    scene, image_stats = predictor.prepare(scene, image_stats)
    height, width = predictor.window
    lefts = window_starts(scene.sizes["x"], width, 0)
    total: dict[str, Any] = {}
    weight = 0.0
    for strip in read_strips(scene, window_starts(scene.sizes["y"], height, 0), height):
        seen = [c for c in lefts if strip.valid[:, c : c + width].any()]
        for start in range(0, len(seen), predictor.batch_size):
            windows = [
                strip.window(c, predictor.window)
                for c in seen[start : start + predictor.batch_size]
            ]
            images, valid = (np.stack(part) for part in zip(*windows, strict=True))
            share = valid.mean(axis=(1, 2), dtype=np.float64)
            weight += float(share.sum())
            answers = predictor.forward(images, valid, image_stats)
            for name, values in answers.items():
                if values.ndim > 2:  # of a head that answers for each pixel
                    continue
                total[name] = total.get(name, 0.0) + share @ values.astype(np.float64)
    return {n: (v / weight)[None].astype(np.float32) for n, v in total.items()}


def _table(
    layers: list[MapLayer], names: list[str], found: list[Answers]
) -> xr.Dataset:
    data: dict[str, Any] = {}
    coords: dict[str, Any] = {"scene": names}
    known = np.ones(1, bool)
    for layer in layers:
        columns = [layer.read(one, known if one else ~known)[:, 0] for one in found]
        values = np.stack(columns)
        many = len(layer.bands) > 1
        dims = ("scene", layer.dim) if many else ("scene",)
        data[layer.name] = (dims, values if many else values[:, 0], layer.attrs())
        if many:
            coords[layer.dim] = (layer.dim, list(layer.bands))
    return xr.Dataset(data, coords)
