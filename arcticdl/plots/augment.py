"""What a policy of augmentation does to samples, seen before it costs a night."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcticdl.choices import check_names
from arcticdl.plots.maps import class_legend, class_rgb, composite_rgb
from arcticdl.plots.style import checked_colors, house_style, new_figure
from arcticdl.void import VOID_CLASS


def show_augmented(
    policy: Callable[..., Any],
    image: np.ndarray,
    labels: np.ndarray | Mapping[str, np.ndarray],
    valid: np.ndarray | None = None,
    *,
    classes: Sequence[str] = (),
    colors: Sequence[str] = (),
    bands: Sequence[int] | None = None,
    num_draws: int = 4,
    seed: int = 0,
) -> Figure:
    """Draws samples as they are and as a policy gives them, with their labels below.

    All pictures of a sample share one stretch, so that a change of brightness shows.
    Missing and void pixels are grey.

    Args:
        policy: ``policy(image, labels, valid, rng)``, as from `augment.build_policy`.
        image: ``(sample, y, x, band)`` in source units; mixing needs two samples.
        labels: Class codes ``(sample, y, x)``, or ``{name: codes}``, of which the first
            is drawn. Shares of classes (mixed labels) are drawn as the likeliest class.
        valid: Boolean ``(sample, y, x)``; default: every pixel.
        classes: Names of the classes; default: their codes.
        colors: One colour a class.
        bands: One band or three to draw; see `composite_rgb`.
        num_draws: Number of draws beside the original.
        seed: Seed of the draws; draw ``i`` uses ``seed + i``.

    Returns:
        The figure: two rows a sample, one column a draw.

    Raises:
        ValueError: The arrays do not fit each other, or `num_draws` is below 1.
    """
    check_names(classes=classes, colors=colors)
    image, named, valid = _checked(image, labels, valid, num_draws)
    drawn = [(image, named, valid)]
    for draw in range(num_draws):
        rng = np.random.default_rng(seed + draw)
        drawn.append(policy(image.copy(), dict(named), valid.copy(), rng))
    codes = [_codes(next(iter(entry[1].values()))) for entry in drawn]
    names = list(classes) or _code_names(codes)
    tints = checked_colors(names, colors)
    num, (size_y, size_x) = len(image), image.shape[1:3]
    with house_style():
        width = 1.7 * (num_draws + 1)
        figure = new_figure((width, 3.4 * num * size_y / size_x + 0.5))
        axes = figure.subplots(2 * num, num_draws + 1, squeeze=False)
        for sample in range(num):
            pictures = _stretched([(e[0][sample], e[2][sample]) for e in drawn], bands)
            for column, picture in enumerate(pictures):
                title = f"draw {column}" if column else "as it is"
                _show(axes[2 * sample, column], picture, title if not sample else "")
                painted = class_rgb(codes[column][sample], tints)
                _show(axes[2 * sample + 1, column], painted, "")
        with_void = any((code == VOID_CLASS).any() for code in codes)
        entries = class_legend(names, tints, with_void=with_void)
        figure.legend(handles=entries, loc="outside lower center", ncols=len(entries))
    return figure


def _show(ax: Axes, picture: np.ndarray, title: str) -> None:
    ax.imshow(picture)
    ax.set_axis_off()
    if title:
        ax.set_title(title)


def _stretched(
    pictures: list[tuple[np.ndarray, np.ndarray]], bands: Sequence[int] | None
) -> list[np.ndarray]:
    """Paints pictures side by side, so that one stretch serves them all."""
    tall = max(image.shape[0] for image, _ in pictures)
    padded = [
        (
            np.pad(image, ((0, tall - len(image)), (0, 0), (0, 0))),
            np.pad(valid, ((0, tall - len(valid)), (0, 0))),
        )
        for image, valid in pictures
    ]
    images, valids = zip(*padded, strict=True)
    strip = composite_rgb(
        np.concatenate(images, 1), bands, valid=np.concatenate(valids, 1)
    )
    ends = np.cumsum([image.shape[1] for image, _ in pictures])
    parts = np.split(strip, ends[:-1], axis=1)
    return [
        part[: len(image)] for part, (image, _) in zip(parts, pictures, strict=True)
    ]


def _codes(label: np.ndarray) -> np.ndarray:
    if label.ndim == 3:
        return np.asarray(label).astype(np.int64)
    void = np.isnan(label).any(-1)
    return np.where(void, VOID_CLASS, np.nan_to_num(label).argmax(-1))


def _code_names(codes: list[np.ndarray]) -> list[str]:
    greatest = max(int(code[code != VOID_CLASS].max(initial=0)) for code in codes)
    return [str(code) for code in range(greatest + 1)]


def _checked(
    image: np.ndarray,
    labels: np.ndarray | Mapping[str, np.ndarray],
    valid: np.ndarray | None,
    num_draws: int,
) -> tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]:
    image = np.asarray(image, np.float32)
    named = dict(labels) if isinstance(labels, Mapping) else {"label": labels}
    valid = np.ones(image.shape[:3], bool) if valid is None else np.asarray(valid, bool)
    shapes = {name: np.shape(label) for name, label in named.items()}
    fits = image.ndim == 4 and all(s == image.shape[:3] for s in shapes.values())
    if not fits or not shapes or num_draws < 1:
        raise ValueError(
            "`image` must be (sample, y, x, band) with `labels` (sample, y, x), and "
            f"`num_draws` at least 1. Received: image {image.shape}, labels {shapes}, "
            f"num_draws={num_draws}."
        )
    return image, named, valid
