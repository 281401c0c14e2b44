"""Maps of what an answer rests on: activations, Grad-CAM, gradients, occlusion.

A method is built for a subject, and then explains batches of scaled windows, in which
pixels without input are 0, as is a band of average size under most scalings.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from keras import ops
from numpy.typing import NDArray

from arcticdl.choices import check_choice, check_choices, check_names
from arcticdl.explain.gradient import differentiate
from arcticdl.explain.subject import Floats, Subject
from arcticdl.models.probe import deepest, find_features, with_features, with_hook

Explain = Callable[[Floats, NDArray[np.bool_]], Floats]
Windows = Iterable[tuple[Floats, NDArray[np.bool_]]]


class Method(NamedTuple):
    """A method made ready for a subject.

    Attributes:
        explain: From scaled pixels (n, y, x, band) and their validity to the map
            (n, y, x, name) float32.
        names: Names of its bands.
        about: What it is, one phrase.
        signed: Whether it has two sides: what speaks for the answer, and against.
        told: What else became known while it ran, such as its numerical error.
        survey: What a method must know of a whole scene before it explains its windows
            alike: takes all of them, each pixel valid in one window alone; windows hold
            their other pixels too.
    """

    explain: Explain
    names: tuple[str, ...]
    about: str
    signed: bool
    told: dict[str, Any]
    survey: Callable[[Windows], None] | None = None


def activations(subject: Subject, *, layers: Sequence[str] | None = None) -> Method:
    """How strongly each layer answers: the root mean square of its features.

    Args:
        subject: What is explained.
        layers: Names of `arcticdl.models.probe.find_features`; default: the levels of
            the backbone, else the last layer of each stride.

    Raises:
        ValueError: No such layer.
    """
    check_names(layers=layers)
    found = find_features(subject.model)
    levels = [n for n in found if n.startswith("backbone/")]
    by_stride = {feature.stride: name for name, feature in found.items()}
    names = list(layers or levels or by_stride.values())
    check_choices("layers", names, found)
    watched = with_features(subject.model, names)

    def explain(scaled: Floats, valid: NDArray[np.bool_]) -> Floats:
        seen = watched.predict_on_batch(scaled)
        maps = []
        for name in names:
            strength = np.sqrt(np.mean(np.square(seen[name]), axis=-1, keepdims=True))
            maps.append(_enlarged(strength, found[name].stride, valid.shape[1:]))
        return np.concatenate(maps, axis=-1)

    about = "root mean square of a layer's features (activations)"
    return Method(explain, tuple(names), about, False, {"layers": names})


def gradcam(subject: Subject, *, layer: str | None = None) -> Method:
    """Where features of a layer speak for each class, by their gradients.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391); of maps Seg-Grad-CAM
    (Vinogradova et al. 2020, arXiv:2002.11434), whose set of pixels are those that are
    answered with the class. Gradients are summed over a window, not averaged, so that
    windows of any size compare. Of a scene that was surveyed, features have the same
    weights in all windows, those of all its pixels; else each window has its own, and
    where windows meet, maps would have seams.

    Args:
        subject: What is explained.
        layer: A name of `arcticdl.models.probe.find_features`; default: the coarsest.

    Raises:
        ValueError: No such layer.
        RuntimeError: The backend has no gradients.
    """
    found = find_features(subject.model)
    name = deepest(found) if layer is None else layer
    check_choice("layer", name, found)
    feature = found[name]
    hooked, hook = with_hook(subject.model, feature)

    def scores(shift: Any, image: Any, chosen: Any) -> Any:
        hook.shift = shift
        outputs = hooked(image, training=False)
        return subject.read(outputs, chosen), hook.seen

    graded, shapes = differentiate(scores), dict[Any, Any]()
    of_scene: list[Floats] = []

    def features(scaled: Floats) -> Floats:
        hook.shift = None
        hooked(scaled, training=False)
        return np.asarray(hook.seen)

    def slopes(
        scaled: Floats, valid: NDArray[np.bool_]
    ) -> Iterator[tuple[int, Floats, Floats]]:
        """By class the summed slopes of each window (n, feature), and its pixels."""
        chosen = subject.chosen(subject.answer(scaled), valid)
        chosen[~valid.any(axis=(1, 2))] = 0  # what fills up a batch
        if scaled.shape not in shapes:
            shapes[scaled.shape] = np.zeros_like(features(scaled))
        for number in _numbers(subject, chosen):
            one = np.zeros_like(chosen)
            one[..., number] = chosen[..., number]
            slope = graded(shapes[scaled.shape], scaled, one)[2].sum(axis=(1, 2))
            yield number, slope, one.reshape(len(one), -1).sum(axis=1)

    def survey(windows: Windows) -> None:
        sums: dict[int, list[Any]] = {}
        for scaled, valid in windows:
            for number, slope, count in slopes(scaled, valid):
                kept = sums.setdefault(number, [0.0, 0.0])
                kept[0] = kept[0] + slope.sum(axis=0, dtype=np.float64)
                kept[1] += float(count.sum())
        of_scene.clear()
        of_scene.extend(
            (slope / max(count, 1)).astype(np.float32)[None]
            for _, (slope, count) in sorted(sums.items())
        )

    def explain(scaled: Floats, valid: NDArray[np.bool_]) -> Floats:
        weights = of_scene or [
            slope / np.maximum(count, 1).astype(np.float32)[:, None]
            for _, slope, count in slopes(scaled, valid)
        ]
        seen = features(scaled)
        cams = [(seen * w[:, None, None]).sum(-1, keepdims=True) for w in weights]
        maps = np.maximum(np.concatenate(cams, axis=-1), 0)
        return _enlarged(maps, feature.stride, valid.shape[1:])

    about = "what a layer's features add to the mean score of a class (Grad-CAM)"
    return Method(explain, subject.names, about, False, {"layer": name}, survey)


def integrated(subject: Subject, *, steps: int = 16) -> Method:
    """How much each band of each pixel adds to the summed score, by its gradients.

    Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365) from a window
    whose bands are all 0 (of average size, under most scalings). Their sum is the score
    less that of such a window, but for the error of the integral, a quadrature of Gauss
    and Legendre; it is kept as ``completeness_gap``, a share of the difference.

    Args:
        subject: What is explained.
        steps: Points of the quadrature, each a pass forth and back.

    Raises:
        ValueError: Fewer than one step.
        RuntimeError: The backend has no gradients.
    """
    if not isinstance(steps, int) or steps < 1:
        raise ValueError(f"`steps` must be at least 1. Received: steps={steps!r}.")
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    graded = differentiate(lambda x, chosen: (subject.scores(x, chosen), ops.shape(x)))
    told: dict[str, Any] = {"steps": steps, "completeness_gap": 0.0}

    def explain(scaled: Floats, valid: NDArray[np.bool_]) -> Floats:
        chosen = subject.chosen(subject.answer(scaled), valid)
        slopes = np.zeros(scaled.shape, np.float64)
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            slopes += weight * graded(np.float32(node) * scaled, chosen)[2]
        found = scaled * slopes
        ends = [
            graded(part * scaled, chosen)[0] for part in np.array([1, 0], "float32")
        ]
        rise = (ends[0] - ends[1]).astype(np.float64)
        gap = np.abs(found.sum(axis=(1, 2, 3)) - rise)
        share = float((gap / np.maximum(np.abs(rise), 1e-6)).max(initial=0))
        told["completeness_gap"] = max(told["completeness_gap"], share)
        return found.astype(np.float32)

    about = "what a band of a pixel adds to the summed score (integrated gradients)"
    return Method(explain, subject.bands, about, True, told)


def occlusion(subject: Subject) -> Method:
    """How much of the answer is lost where a band is missing everywhere.

    The band becomes 0, as where it has no data. Of classes the loss is that of the
    probability of the class that is explained, of values that of the value.

    Args:
        subject: What is explained.
    """

    def explain(scaled: Floats, valid: NDArray[np.bool_]) -> Floats:
        whole = subject.answer(scaled)
        chosen = subject.chosen(whole, valid)
        maps = []
        for band in range(scaled.shape[-1]):
            without = scaled.copy()
            without[..., band] = 0
            lost = ((whole - subject.answer(without)) * chosen).sum(axis=-1)
            here = lost if lost.ndim == 3 else lost[:, None, None]
            maps.append(np.broadcast_to(here, valid.shape))
        return np.stack(maps, axis=-1).astype(np.float32)

    about = "loss of the answer without a band (occlusion)"
    return Method(explain, subject.bands, about, True, {})


def patches(subject: Subject, *, patch_px: int = 32) -> Method:
    """How much of a window's answer is lost where a patch of it is missing.

    Occlusion in space (Zeiler and Fergus 2014, doi:10.1007/978-3-319-10590-1_53): all
    bands of a square become 0, as where there is no data, one square after the other.
    The loss is that of the summed answer of the whole window, also outside of the
    square, per pixel taken away; of classes the answer is a probability.

    Args:
        subject: What is explained.
        patch_px: Side of a square; each is a pass of its own, so half the side takes
            four times as long.

    Raises:
        ValueError: No side.
    """
    if not isinstance(patch_px, int) or patch_px < 1:
        raise ValueError(f"`patch_px` must be at least 1. Received: {patch_px!r}.")

    def explain(scaled: Floats, valid: NDArray[np.bool_]) -> Floats:
        whole = subject.answer(scaled)
        chosen = subject.chosen(whole, valid)
        found = np.zeros((*valid.shape, 1), np.float32)
        for row in range(0, valid.shape[1], patch_px):
            for column in range(0, valid.shape[2], patch_px):
                square = np.s_[:, row : row + patch_px, column : column + patch_px]
                without = scaled.copy()
                without[square] = 0
                lost = (whole - subject.answer(without)) * chosen
                count = np.maximum(valid[square].sum(axis=(1, 2)), 1)
                lost = lost.reshape(len(lost), -1).sum(axis=1) / count
                found[square] = lost[:, None, None, None]
        return found

    about = "loss of the answer without a patch, per pixel of it (occlusion in space)"
    return Method(explain, ("all bands",), about, True, {"patch_px": patch_px})


def _numbers(subject: Subject, chosen: Floats) -> list[int]:
    """Which classes or values are explained, each by itself."""
    if subject.target is not None:
        return [subject.target]
    return list(range(chosen.shape[-1]))


def _enlarged(maps: Any, stride: int, size: tuple[int, ...]) -> Floats:
    """Features at the image's resolution; what they know of its padding is cut off."""
    rows, columns = (stride * side for side in maps.shape[1:3])
    if stride > 1:
        maps = ops.image.resize(
            maps, (rows, columns), interpolation="bilinear", data_format="channels_last"
        )
    return np.asarray(maps, np.float32)[:, : size[0], : size[1]]
