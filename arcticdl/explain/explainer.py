"""Maps that explain a whole scene, window by window, in bounded memory."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from arcticdl.choices import choose
from arcticdl.explain.methods import Method
from arcticdl.explain.subject import (
    Subject,
    find_head,
    find_target,
    refuse_ensemble,
)
from arcticdl.explain.table import METHODS
from arcticdl.inference.blend import window_starts
from arcticdl.inference.forward import Answers, compiled, xla_helps
from arcticdl.inference.maps import MapLayer
from arcticdl.inference.predict import map_scene
from arcticdl.inference.predictor import AnyModel, Predictor
from arcticdl.inference.strips import read_strips
from arcticdl.scene import BandStats
from arcticdl.tasks import Output


@dataclass(frozen=True)
class ExplanationLayer(MapLayer):
    """A map that explains, written as maps of answers are.

    Attributes:
        told: How it is read and written.
    """

    told: Output = field(kw_only=True)

    @property
    def output(self) -> Output:
        """How it is read and written."""
        return self.told


class Explainer(Predictor):
    """A model made ready to explain itself; `map_scene` takes it as a predictor.

    Args:
        model: A Keras model, or the path of a ``.keras`` file.
        method: One of ``METHODS``.
        head: Name of the head that is explained; needed where there are several.
        target: Name of a class or value; default: the class that is answered (of
            Grad-CAM each class where it is answered), or the first value.
        options: Options of the method.
        tile_size_px: Window, in px; default: the card's tile size, else 256.
        batch_size: Windows at once.

    Attributes:
        subject: What is explained.
        method: How.

    Raises:
        ValueError: An ensemble, or no such method, head, target or option.
        RuntimeError: The backend has no gradients, and the method needs them.
        FileNotFoundError: A path without a file.
    """

    def __init__(
        self,
        model: AnyModel,
        method: str = "gradcam",
        *,
        head: str | None = None,
        target: str | None = None,
        options: Mapping[str, Any] | None = None,
        tile_size_px: int | tuple[int, int] | None = None,
        batch_size: int = 4,
    ) -> None:
        build = choose("method", method, METHODS)
        super().__init__(model, tile_size_px=tile_size_px, batch_size=batch_size)
        refuse_ensemble(self.card)
        name = find_head(self.heads, head)
        network = self.members[0].model
        count = network.inputs[0].shape[-1]
        bands = (self.card or {}).get("bands") or [f"band{n}" for n in range(count)]
        self.subject = Subject(
            network,
            name,
            self.heads[name],
            find_target(self.heads[name], target),
            tuple(bands),
            self.window,
            compiled(network, self.heads, xla_helps(), drops=False),
        )
        self.method: Method = build(self.subject, **(options or {}))
        self.layers = [self._layer(method)]
        self.forward = self._explain

    def layers_of(self, target: str) -> list[MapLayer]:
        """The map that explains, whatever the head answers for."""
        return self.layers

    def scale(
        self, image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> NDArray[np.float32]:
        """Pixels as the network takes them, as many as a batch holds, 0 where invalid.

        Args:
            image: (n, y, x, band) in source units.
            valid: (n, y, x).
            stats: Of the whole scene, where the scaling needs them.
        """
        scaled = self.members[0].normalizer(image, valid, stats)
        lacking = max(0, self.batch_size - len(scaled))
        return np.pad(scaled, [(0, lacking), *[(0, 0)] * 3])

    def prepare(
        self,
        scene: xr.Dataset,
        image_stats: BandStats | None,
        *,
        survey: bool = True,
    ) -> tuple[xr.Dataset, BandStats | None]:
        """As of a predictor; the method surveys the scene that it is to explain.

        Args:
            scene: The scene.
            image_stats: Its statistics, where they are known.
            survey: Whether the whole scene is explained next, and not parts of it.
        """
        scene, image_stats = super().prepare(scene, image_stats)
        if survey and self.method.survey is not None:
            self.method.survey(self._windows(scene, image_stats))
        return scene, image_stats

    def _windows(
        self, scene: xr.Dataset, stats: BandStats | None
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Scaled windows of a whole scene; each pixel counts in one of them."""
        height, width = self.window
        rows, cols = scene.sizes["y"], scene.sizes["x"]
        tops, lefts = window_starts(rows, height, 0), window_starts(cols, width, 0)
        once_y, once_x = _once(tops, height, rows), _once(lefts, width, cols)
        for down, strip in zip(once_y, read_strips(scene, tops, height), strict=True):
            for at in range(0, len(lefts), self.batch_size):
                chosen = lefts[at : at + self.batch_size]
                pairs = [strip.window(left, self.window) for left in chosen]
                image, valid = (np.stack(part) for part in zip(*pairs, strict=True))
                scaled, valid = self._batch(image, valid, stats)
                across = once_x[at : at + self.batch_size]
                valid[: len(across)] &= down[:, None] & across[:, None, :]
                if valid.any():
                    yield scaled, valid

    def _batch(
        self, image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Scaled windows and their validity, as many as a batch holds."""
        scaled = self.scale(image, valid, stats)
        lacking = len(scaled) - len(valid)
        return scaled, np.pad(valid, [(0, lacking), (0, 0), (0, 0)])

    def _layer(self, name: str) -> MapLayer:
        names = self.method.names
        told = Output(
            lambda values, head: values,
            self.method.about,
            units=None
            if name == "occlusion" and not self.subject.head.classes
            else "1",
            limits=None,
            bands=lambda head: names,
        )
        of = "layer" if name == "activations" else "band"
        dim = "explained" if name == "gradcam" else f"explaining_{of}"
        return ExplanationLayer(name, name, self.subject.head, name, dim, told=told)

    def _explain(
        self, image: NDArray[Any], valid: NDArray[np.bool_], stats: BandStats | None
    ) -> Answers:
        scaled, known = self._batch(image, valid, stats)
        found = self.method.explain(scaled, known)
        return {self.layers[0].name: found[: len(image)]}


def _once(starts: list[int], window: int, length: int) -> NDArray[np.bool_]:
    """For each window of an axis, which of its pixels no window before it has."""
    ends = [0, *(start + window for start in starts[:-1])]
    at = np.array(starts)[:, None] + np.arange(window)
    return (at >= np.array(ends)[:, None]) & (at < length)


def explain_scene(
    model: AnyModel,
    scene: xr.Dataset,
    method: str = "gradcam",
    out: str | Path | None = None,
    *,
    overlap_px: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **how: Any,
) -> xr.Dataset:
    """Maps what the answers about a scene rest on.

    Args:
        model: A Keras model, or the path of a ``.keras`` file.
        scene: The scene; to explain a part of it, select that by ``isel``.
        method: One of ``METHODS``: ``"activations"`` of layers, ``"gradcam"``,
            ``"integrated"`` gradients, ``"occlusion"`` of bands.
        out: GeoTIFF, float32 with NaN where there is no input; ``None``: memory.
        overlap_px: Pixels shared by neighbouring windows; default: a quarter.
        overwrite: Whether a file at ``out`` may be replaced.
        progress: Whether to show a progress bar.
        **how: ``head``, ``target``, ``options``, ``tile_size_px`` and ``batch_size`` of
            `Explainer`.

    Returns:
        Dataset with the map under the method's name, one band a class, layer or band
        of the image.

    Raises:
        ValueError: As of `Explainer`, or the scene holds no valid pixel.
        FileExistsError: ``out`` exists and ``overwrite`` is false.

    Example:
        >>> from arcticdl.explain import METHODS
        >>> sorted(METHODS)
        ['activations', 'gradcam', 'integrated', 'occlusion', 'patches']
    """
    explainer = Explainer(model, method, **how)
    return map_scene(
        explainer,
        scene,
        out,
        overlap_px=overlap_px,
        overwrite=overwrite,
        progress=progress,
    )
