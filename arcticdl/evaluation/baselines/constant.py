"""The baseline of every task: what the training tiles hold, said of everything."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from arcticdl.evaluation.choose import evaluation_for
from arcticdl.evaluation.images import counted_pixels, rows_by_name
from arcticdl.tasks import Head
from arcticdl.tiles import LabelInfo, TileStore

_MAX_SAMPLE = 1_000_000  # numbers from which quantiles are taken


def constant_baseline(
    store: TileStore,
    train_indices: Sequence[int] | np.ndarray,
    test_indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the distribution of the training labels as an answer about everything.

    Of classes it is their shares, so the commonest one is chosen, and of ordered ones
    the median; of polygons' shares their means; of labels the share in which each
    holds; of values their mean, with their variance or quantiles where the head gives
    them.

    Args:
        store: A tile store.
        train_indices: Tiles whose labels are looked at.
        test_indices: Tiles to score; pixels that overlap count once.
        info: The label.
        head: What the network that it stands beside answers.
        seed: Seed of the bootstrap and of the sample of values.

    Returns:
        The layout of an evaluation's ``result``, with a ``title``.

    Raises:
        ValueError: No training tile holds a scored label.
    """
    answer, title = marginal(store, train_indices, info, head, seed)
    evaluation = evaluation_for(head, seed=seed, num_pictures=0)
    for scene_id, truth, counted in read_truths(store, test_indices, info):
        shape = (*counted.shape, answer.size)
        said = np.broadcast_to(answer.astype(np.float32), shape)
        evaluation.add(scene_id, truth, said, counted=counted)
    return {"title": title} | evaluation.result()


def read_truths(
    store: TileStore, indices: Sequence[int] | np.ndarray, info: LabelInfo
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Reads a label tile by tile, or once for each image.

    Yields:
        Name of the scene, the label ``(y, x)`` or ``(y, x, channel)`` with void where
        the image is invalid (an image's label as one pixel), and which pixels no
        earlier tile has counted.
    """
    manifest = store.manifest.iloc[np.asarray(indices)]
    ids = manifest["scene_id"].astype(str).to_numpy()
    if not info.is_pixel:
        rows = rows_by_name(ids)
        for scene_id in dict.fromkeys(ids):
            index = int(np.asarray(indices)[rows[scene_id][0]])
            label = store.read([index], [info.name])[info.name]
            yield scene_id, label[None], np.ones((1, 1), bool)
        return
    rows, cols = manifest["row"].to_numpy(int), manifest["col"].to_numpy(int)
    masks = counted_pixels(list(ids), rows, cols, store.tile_size_px)
    for index, scene_id, mask in zip(np.asarray(indices), ids, masks, strict=True):
        found = store.read([int(index)], ["valid", info.name])
        label, valid = found[info.name][0], found["valid"][0]
        label = np.array(label)
        label[~valid] = info.void
        yield scene_id, label, mask


def even_levels(count: int) -> np.ndarray:
    """Levels of quantiles that stand for a distribution, each as likely.

    Example:
        >>> even_levels(2).tolist()
        [0.25, 0.75]
    """
    return (np.arange(count) + 0.5) / count


def marginal(
    store: TileStore,
    indices: Sequence[int] | np.ndarray,
    info: LabelInfo,
    head: Head,
    seed: int,
) -> tuple[np.ndarray, str]:
    """The training labels' distribution in the form of the head's activated answer.

    Args:
        store: A tile store.
        indices: Tiles whose labels are looked at.
        info: The label.
        head: What is answered.
        seed: Seed of the sample of values.

    Returns:
        ``(channel,)``, and what it is, in words.

    Raises:
        ValueError: No tile holds a scored label.
    """
    parts = [
        label.reshape(-1, max(info.num_channels, 1))[counted.reshape(-1)]
        for _, label, counted in read_truths(store, indices, info)
    ]
    labels = np.concatenate(parts)
    scored = info.scored(labels)
    if not scored.any(axis=0).all():
        raise ValueError(
            "The training tiles must hold scored labels of "
            f"`label`={info.name!r}. Received: none of {len(labels)}."
        )
    columns = [column[ok] for column, ok in zip(labels.T, scored.T, strict=True)]
    kind = head.spec.kind
    if kind == "shares":
        share = np.array([column.mean() for column in columns[1:]])
        name = head.classes[int(share.argmax())]
        return share, f"commonest class of the charts everywhere ({name})"
    if head.form.scored_by == "classes":
        counts = np.bincount(columns[0], minlength=len(head.classes))
        share = counts / counts.sum()
        assert head.form.codes is not None  # of a form with classes
        name = head.classes[int(head.form.codes(share))]
        rule = "median" if kind == "ordinal" else "majority"
        return share, f"{rule} class everywhere ({name})"
    if kind == "labels":
        share = np.array([column.mean() for column in columns])
        return share, "share of each class in training, everywhere"
    mean = np.array([column.mean(dtype=np.float64) for column in columns])
    if kind == "gaussian":
        variance = [column.var(dtype=np.float64) for column in columns]
        return np.concatenate([mean, variance]), "mean and variance of training"
    if kind in ("members", "quantiles"):
        drawn = np.random.default_rng(seed).permutation(columns[0])[:_MAX_SAMPLE]
        even = kind == "members"
        levels = even_levels(head.size) if even else head.size
        title = "values of training" if even else "quantiles of training"
        return np.quantile(drawn, levels), title
    return mean, "mean of training everywhere"
