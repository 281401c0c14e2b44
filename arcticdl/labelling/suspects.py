"""Doubtful labels: regions where out-of-fold models contradict what is given.

Each image is answered by a model that was not trained on it, which the caller sees to.
Images are taken one by one; their answers wait in a folder until the thresholds, which
all images share, are known.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from arcticdl.labelling.confident import NONE, Confidence, confident_class
from arcticdl.tasks import Head
from arcticdl.void import VOID_CLASS

MAX_SAMPLE = 1_000_000
_FOUR = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


class Answered(NamedTuple):
    """One image, its label, and the answer of a model that never saw it.

    Attributes:
        image_id: Name of the scene.
        fold: Number of the fold that held it out.
        label: (y, x) codes with 255 as void, or values with NaN; (1, 1) of an image.
        answer: (y, x, channel) activated numbers, as the head's form has them.
    """

    image_id: str
    fold: int
    label: np.ndarray
    answer: np.ndarray


class Region(NamedTuple):
    """A connected region of doubtful labels.

    Attributes:
        image_id: Name of the scene.
        fold: Fold whose model answered.
        rows: Slice of its bounding box.
        cols: Likewise.
        mask: Booleans within the box.
        given: What the label says: a class code, or the mean value.
        suggested: What the model says.
        confidence: Of classes the model's mean probability of its suggestion; of
            values the mean standardised residual, with its sign.
        given_confidence: Mean probability of the given class; NaN of values.
        evidence: What regions are ranked by; see ``find_suspects``.
    """

    image_id: str
    fold: int
    rows: slice
    cols: slice
    mask: np.ndarray
    given: float
    suggested: float
    confidence: float
    given_confidence: float
    evidence: float

    @property
    def area_px(self) -> int:
        """Its pixels."""
        return int(self.mask.sum())


class Found(NamedTuple):
    """What a search found.

    Attributes:
        regions: The most doubtful first.
        summary: Of classes the ``thresholds``, the ``confident_joint`` and the number
            of labels that were looked at; of values the ``scale`` of residuals.
        answers: ``{image_id: .npy file}`` of (y, x, channel): probabilities, or the
            value and, where the network tells it, its standard deviation.
    """

    regions: list[Region]
    summary: dict[str, Any]
    answers: Mapping[str, Path]


def find_suspects(
    images: Iterable[Answered],
    head: Head,
    folder: str | Path,
    *,
    min_area_px: int = 50,
    least_deviation: float = 3.0,
) -> Found:
    """Finds the regions whose labels the models contradict with confidence.

    Of **classes** a pixel is doubtful when another class is its confident one (see
    ``confident_class``) and likelier than the given. Its evidence is by how much it is
    likelier; that of a region is the sum, so that a region counts by its size and by
    how sure the models are. Of **values** a pixel is doubtful when its residual (label
    less answer) is at least ``least_deviation`` standard deviations: those that the
    network tells, else 1.4826 times the median absolute residual of all. The evidence
    of a region is the sum of these deviations.

    Args:
        images: Read one after the other. A pixel that is void is never doubtful.
        head: What the answers mean: exclusive or ordered classes, or one value.
        folder: An empty folder for the answers, two to four bytes a number.
        min_area_px: Smaller regions are left out; 1 for labels of whole images.
        least_deviation: Of values.

    Returns:
        The regions, connected by edges, of one given and one suggested class each.

    Raises:
        ValueError: A head of several labels or values, or options out of range.

    Example:
        >>> import tempfile
        >>> from arcticdl.tasks import read_head
        >>> label = np.zeros((8, 8), "uint8")
        >>> label[:, 4:] = 1
        >>> prob = np.eye(2)[label] * 0.8 + 0.1  # sure of what the label should be
        >>> label[2:5, 5:8] = 0                  # and here it is another
        >>> found = find_suspects(
        ...     [Answered("a", 0, label, prob)],
        ...     read_head("ice", {"classes": ["water", "ice"]}),
        ...     tempfile.mkdtemp(), min_area_px=4)
        >>> [(r.given, r.suggested, r.area_px) for r in found.regions]
        [(0.0, 1.0, 9)]
    """
    if min_area_px < 1 or not least_deviation > 0:
        raise ValueError(
            "`min_area_px` must be at least 1 and `least_deviation` positive. "
            f"Received: min_area_px={min_area_px}, least_deviation={least_deviation}."
        )
    search = _search_for(head)(head, least_deviation)
    kept: list[tuple[Answered, Path]] = []
    for number, image in enumerate(images):
        path = Path(folder) / f"{number}.npy"
        answer = search.kept(image.answer)
        search.learn(image.label, answer.astype("float32"))
        np.save(path, answer)
        kept.append((image._replace(answer=np.empty(0)), path))
    regions: list[Region] = []
    for image, path in kept:
        answer = np.load(path, mmap_mode="r")
        regions += search.regions(image._replace(answer=answer), min_area_px)
    regions.sort(key=lambda region: -region.evidence)
    answers = {image.image_id: path for image, path in kept}
    return Found(regions, search.summary(), answers)


def check_searchable(head: Head) -> None:
    """Refuses heads whose labels cannot be searched.

    Raises:
        ValueError: It answers with several labels or values.
    """
    _search_for(head)


def _search_for(head: Head) -> Any:
    if head.spec.label == "shares":
        raise ValueError(
            "Doubtful labels are of pixels, or of whole images, and polygons tell no "
            f"pixel's class. Received: a head of task {head.task!r}."
        )
    if head.form.codes is not None:
        return _ClassSearch
    if head.spec.label == "value" and len(head.outputs) == 1:
        return _ValueSearch
    raise ValueError(
        "Doubtful labels can be found of exclusive or ordered classes, and of one "
        f"value a pixel or image. Received: a head of task {head.task!r} with "
        f"{len(head.classes) or len(head.outputs)} answers at once."
    )


class _ClassSearch:
    """Labels of classes."""

    def __init__(self, head: Head, least_deviation: float) -> None:
        self.confidence = Confidence(head.form.activated(head.size))
        self.classes = head.classes

    def learn(self, label: np.ndarray, prob: np.ndarray) -> None:
        known = label != VOID_CLASS
        self.confidence.add(label[known], prob[known])

    @staticmethod
    def kept(answer: np.ndarray) -> np.ndarray:
        return answer.astype("float16")

    def regions(self, image: Answered, min_area_px: int) -> Iterator[Region]:
        known = image.label != VOID_CLASS
        prob = np.asarray(image.answer, "float32")
        given = np.where(known, image.label, 0).astype("int64")
        self.confidence.join(given[known], prob[known])
        found = confident_class(prob, self.confidence.thresholds)
        own = np.take_along_axis(prob, given[..., None], axis=-1)[..., 0]
        at = np.where(found == NONE, 0, found)
        other = np.take_along_axis(prob, at[..., None], axis=-1)[..., 0]
        doubtful = known & (found != NONE) & (found != given) & (other > own)
        kinds = np.where(doubtful, given * prob.shape[-1] + at, NONE)
        for rows, cols, mask in connected(kinds, min_area_px):
            probs, owns = other[rows, cols][mask], own[rows, cols][mask]
            kind = int(kinds[rows, cols][mask][0])
            yield Region(
                image.image_id, image.fold, rows, cols, mask,
                given=float(kind // prob.shape[-1]),
                suggested=float(kind % prob.shape[-1]),
                confidence=float(probs.mean()),
                given_confidence=float(owns.mean()),
                evidence=float((probs - owns).sum()),
            )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        limits = self.confidence.thresholds
        return {
            "classes": list(self.classes),
            "thresholds": [float(t) if np.isfinite(t) else None for t in limits],
            "num_labels": self.confidence.count.tolist(),
            "confident_joint": self.confidence.joint.tolist(),
        }


class _ValueSearch:
    """Labels of one value."""

    def __init__(self, head: Head, least_deviation: float) -> None:
        self.head, self.least = head, least_deviation
        self.has_std = "std" in head.form.outputs
        self._sample: list[np.ndarray] = []
        self._count = 0

    def learn(self, label: np.ndarray, answer: np.ndarray) -> None:
        residual = _plane(label) - answer[..., 0]
        residual = residual[np.isfinite(residual)]
        self._count += residual.size
        rng = np.random.default_rng(len(self._sample))
        self._sample.append(rng.permutation(residual)[: MAX_SAMPLE // 100])

    def kept(self, answer: np.ndarray) -> np.ndarray:
        outputs = self.head.form.outputs
        names = ["value", "std"] if self.has_std else ["value"]
        read = [outputs[name].read(answer, self.head)[..., :1] for name in names]
        return np.concatenate(read, axis=-1).astype("float32")

    @property
    def scale(self) -> float:
        residuals = np.concatenate([np.zeros(0), *self._sample])
        spread = np.median(np.abs(residuals)) if residuals.size else 0.0
        return 1.4826 * float(spread)

    def regions(self, image: Answered, min_area_px: int) -> Iterator[Region]:
        label, value = _plane(image.label), np.asarray(image.answer[..., 0])
        scale = np.asarray(image.answer[..., 1]) if self.has_std else self.scale
        with np.errstate(divide="ignore", invalid="ignore"):
            deviation = (label - value) / scale
        doubtful = np.isfinite(deviation) & (np.abs(deviation) >= self.least)
        kinds = np.where(doubtful, (deviation > 0).astype("int64"), NONE)
        for rows, cols, mask in connected(kinds, min_area_px):
            here = deviation[rows, cols][mask]
            yield Region(
                image.image_id, image.fold, rows, cols, mask,
                given=float(label[rows, cols][mask].mean()),
                suggested=float(value[rows, cols][mask].mean()),
                confidence=float(here.mean()),
                given_confidence=float("nan"),
                evidence=float(np.abs(here).sum()),
            )  # fmt: skip

    def summary(self) -> dict[str, Any]:
        told = "of the network" if self.has_std else self.scale
        return {"scale": told, "num_labels": self._count}


def _plane(label: np.ndarray) -> np.ndarray:
    """Values as (y, x), also of a label with one channel."""
    return label[..., 0] if label.ndim == 3 else label


def connected(
    kinds: np.ndarray, min_area_px: int
) -> Iterator[tuple[slice, slice, np.ndarray]]:
    """Connected regions of equal kind, by the edges of pixels.

    Args:
        kinds: (y, x) integers; ``NONE`` belongs to no region.
        min_area_px: Smaller regions are left out.

    Yields:
        Slices of rows and columns of the bounding box, and the booleans within it.

    Example:
        >>> kinds = np.array([[0, 0, 1], [-1, 0, 1], [0, -1, 1]])
        >>> [int(mask.sum()) for _, _, mask in connected(kinds, 2)]
        [3, 3]
    """
    from scipy import ndimage

    for kind in np.unique(kinds[kinds != NONE]):
        ids, _ = ndimage.label(kinds == kind, structure=_FOUR)
        sizes = np.bincount(ids.ravel())
        for number, box in enumerate(ndimage.find_objects(ids), start=1):
            if sizes[number] >= min_area_px:
                yield box[0], box[1], ids[box] == number
