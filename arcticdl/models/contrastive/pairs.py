"""How well two views of each image are told from those of others, and whether at all.

Codes are compared by the angle between them; images of which nothing is seen take no
part, neither as what is asked for nor as what it is to be told from.
"""

from typing import Any

from keras import ops

_FAR = -1e9  # a similarity that no softmax sees
_TINY = 1e-12


def nt_xent(
    one: Any, other: Any, *, temperature: float = 0.1, counts: Any = None
) -> Any:
    """Normalised cross entropy of telling each view from all but its own other one.

    For a code ``z_i`` and its other view ``z_j``, with similarities ``s`` by cosine,
    the loss is ``-log(exp(s_ij / t) / sum_k exp(s_ik / t))``, where ``k`` runs over the
    other view and both views of all other images; it is averaged over both views of all
    images, so that the views may change places.

    Args:
        one: Codes of first views, ``(image, feature)``.
        other: Codes of second views, likewise.
        temperature: ``t``, above 0; the smaller, the more the nearest others count.
        counts: 1 for an image that counts and 0 for one that does not, ``(image,)``;
            default: all count.

    Returns:
        A float32 scalar; 0 where fewer than two images count, of which nothing can be
        told apart.

    Raises:
        ValueError: There is one image, or ``temperature`` is not above 0.

    Example:
        >>> import numpy as np
        >>> codes = np.eye(2, dtype="float32")  # by hand: log(e + 2) - 1
        >>> round(float(nt_xent(codes, codes, temperature=1.0)), 4)
        0.5514

    Reference:
        SimCLR, Chen et al. 2020, arXiv:2002.05709, equation 1.
    """
    if not temperature > 0:
        raise ValueError(f"`temperature` must be above 0. Received: {temperature}.")
    if one.shape[0] == 1:
        raise ValueError(
            "A batch must hold at least two images, of which one can be told from the "
            "other. Received: a batch of one."
        )
    return _compared(one, other, temperature, counts)[0]


def told_apart(one: Any, other: Any, *, counts: Any = None) -> Any:
    """Share of views whose nearest code is that of their own other view.

    Args:
        one: As for ``nt_xent``.
        other: Likewise.
        counts: Likewise.

    Returns:
        A float32 scalar, 0 to 1. Of several codes that are as near each counts by its
        share: where all codes are one, 1 in ``2 * images - 1``.

    Example:
        >>> import numpy as np
        >>> codes = np.eye(3, dtype="float32")
        >>> float(told_apart(codes, codes)), float(told_apart(codes, codes[::-1]))
        (1.0, 0.3333333432674408)
    """
    return _compared(one, other, 1.0, counts)[1]


def spread(one: Any, other: Any, *, counts: Any = None) -> Any:
    """How far codes are spread over directions: 0 where all are one (collapse).

    The standard deviation of the features of codes of length 1 over images, times the
    root of the number of features: 1 for codes that point anywhere.

    Args:
        one: As for ``nt_xent``.
        other: Likewise.
        counts: Likewise.

    Returns:
        A float32 scalar, 0 to 1.

    Example:
        >>> import numpy as np
        >>> alike = np.ones((4, 8), "float32")
        >>> round(float(spread(alike, alike)), 3)
        0.0

    Reference:
        Chen and He 2021, doi:10.1109/CVPR46437.2021.01549, section 4.1.
    """
    codes = ops.concatenate([_of_length_1(one), _of_length_1(other)])
    seen = _seen(codes, counts)[:, None]
    total = ops.maximum(ops.sum(seen), 1.0)
    mean = ops.sum(codes * seen, axis=0) / total
    variance = ops.sum(ops.square(codes - mean) * seen, axis=0) / total
    return ops.mean(ops.sqrt(variance)) * codes.shape[-1] ** 0.5


def pool_seen(features: Any, image: Any, stride: int) -> Any:
    """Means of features over what is seen of an image.

    A place counts by the share of its pixels that are seen. Zero in every band is what
    a feed gives to pixels without data.

    Args:
        features: ``(batch, y / stride, x / stride, feature)``, rounded up, or more at
            the lower and right edge, where a network has padded its image.
        image: ``(batch, y, x, band)``.
        stride: Pixels by a place, each way.

    Returns:
        float32 ``(batch, feature)``, 0 where nothing is seen.

    Example:
        >>> import numpy as np
        >>> image = np.zeros((1, 4, 4, 1), "float32")
        >>> image[:, :2] = 1.0  # the lower half is void
        >>> features = np.arange(4, dtype="float32").reshape(1, 2, 2, 1)
        >>> float(pool_seen(features, image, 2)[0, 0])
        0.5
    """
    seen = ops.any(ops.not_equal(image, 0), axis=-1, keepdims=True)
    shares = ops.average_pool(ops.cast(seen, "float32"), stride, stride, padding="same")
    rows, columns = ops.shape(shares)[1:3]
    kept = ops.cast(features[:, :rows, :columns], "float32")
    total = ops.sum(shares, axis=(1, 2))
    return ops.sum(kept * shares, axis=(1, 2)) / ops.maximum(total, 1e-6)


def seen_images(image: Any) -> Any:
    """1 for each image of which anything is seen, else 0: ``(batch,)``, float32."""
    return ops.cast(ops.any(ops.not_equal(image, 0), axis=(1, 2, 3)), "float32")


def _compared(one: Any, other: Any, temperature: float, counts: Any) -> tuple[Any, Any]:
    """Loss and share told apart."""
    first, second = _of_length_1(one), _of_length_1(other)
    codes = ops.concatenate([first, second])
    seen = _seen(codes, counts)
    scores = ops.matmul(codes, ops.transpose(codes)) / temperature
    itself = ops.eye(ops.shape(codes)[0], dtype="bool")
    hidden = ops.logical_or(itself, seen[None, :] == 0)
    scores = ops.where(hidden, _FAR, scores)
    own = ops.sum(first * second, axis=-1) / temperature
    own = ops.concatenate([own, own])
    total = ops.sum(seen)
    # Two views of one image alone have nothing to be told from.
    weights = ops.where(total > 2, seen / ops.maximum(total, 1.0), 0.0)
    each = ops.logsumexp(scores, axis=-1) - own
    best = ops.max(scores, axis=-1, keepdims=True) - 1e-6
    ties = ops.sum(ops.cast(scores >= best, "float32"), axis=-1)
    nearest = ops.cast(own >= best[:, 0], "float32") / ops.maximum(ties, 1.0)
    return ops.sum(each * weights), ops.sum(nearest * weights)


def _seen(codes: Any, counts: Any) -> Any:
    """Which of the codes of both views count, float32."""
    if counts is None:
        return ops.ones_like(codes[:, 0])
    counts = ops.cast(counts, "float32")
    return ops.concatenate([counts, counts])


def _of_length_1(codes: Any) -> Any:
    codes = ops.cast(codes, "float32")
    length = ops.sum(ops.square(codes), axis=-1, keepdims=True)
    return codes * ops.rsqrt(ops.maximum(length, _TINY))
