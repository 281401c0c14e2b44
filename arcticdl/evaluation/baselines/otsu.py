"""Two halves of a scene, darker and brighter than the threshold of Otsu."""

import numpy as np

_MOST_PX = 1_000_000  # of a scene, from which its threshold is told


def scene_threshold(values: np.ndarray) -> float:
    """The threshold of a scene by Otsu 1979, void left out.

    It parts the values so that the two halves differ most: their variances are least
    (IEEE Trans. Syst. Man Cybern. 9, 62-66, doi:10.1109/TSMC.1979.4310076). All values
    are tried, and none is put into a bin: a threshold in the middle of one would leave
    a part of the dark half above it.

    Args:
        values: Any shape, NaN where unknown. Of more than a million values every k-th
            is read.

    Returns:
        The threshold in units of the values, halfway between the halves; the value
        itself where there is only one, NaN where none is known.

    Example:
        >>> scene_threshold(np.array([-20.0, -19.0, -11.0, -10.0, np.nan]))
        -15.0
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        return float("nan")
    known = np.sort(known[:: -(-known.size // _MOST_PX)])
    # About the middle of their range, so that no digit of large numbers is lost.
    sums = np.cumsum(known - (known[0] + known[-1]) / 2)
    dark = np.arange(1, known.size)
    bright = known.size - dark
    apart = sums[:-1] / dark - (sums[-1] - sums[:-1]) / bright
    between = np.where(np.diff(known) > 0, dark * bright * apart**2, -1.0)
    last = int(between.argmax()) if between.size else 0
    return float(known[last : last + 2].mean())


class OtsuHalves:
    """Classes, or a quantity, told from which side of its scene's threshold a pixel is.

    Each scene is parted by itself, so that a scene that is brighter as a whole changes
    nothing. What the halves are is learnt from training: the shares of the classes in
    each, or its mean. Of several bands that one is taken whose halves tell most.

    Attributes:
        band_: Position of the chosen band.
        answers_: ``(3, channel)``: of the dark half, of the bright one, and of pixels
            that the band lacks.
    """

    def fit(
        self,
        values: np.ndarray,
        truth: np.ndarray,
        scene: np.ndarray,
        *,
        num_classes: int | None = None,
    ) -> "OtsuHalves":
        """Chooses the band, and learns what its halves are.

        Args:
            values: ``(n, band)``, NaN where unknown.
            truth: ``(n,)`` class codes, or a quantity.
            scene: ``(n,)`` number of the scene of each pixel.
            num_classes: Number of classes; ``None`` of a quantity.

        Raises:
            ValueError: There is no pixel, or no band.
        """
        if values.ndim != 2 or not values.size:
            raise ValueError(
                "`values` must hold at least one pixel of one band. Received: shape "
                f"{values.shape}."
            )
        marks = truth[:, None].astype(np.float64)
        if num_classes is not None:
            marks = np.eye(num_classes)[truth.astype(int)]
        best = -np.inf
        for band, column in enumerate(values.T):
            side = _sides_by_scene(column, scene)
            halves = [side == 0, side == 1, np.ones(len(side), bool)]
            answers = np.stack(
                [marks[half if half.any() else halves[2]].mean(0) for half in halves]
            )
            said = answers[side]
            if num_classes is None:
                told = -float(((said - marks) ** 2).sum())
            else:
                told = float((said.argmax(1) == truth).sum())
            if told > best:
                best, self.band_, self.answers_ = told, band, answers
        return self

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Answers about a scene.

        Args:
            values: ``(y, x)`` of the chosen band, NaN where unknown.

        Returns:
            Probabilities of the classes, or the quantity, float32 ``(y, x, channel)``.
        """
        side = _sides(np.asarray(values, np.float64))
        return self.answers_.astype(np.float32)[side]


def _sides_by_scene(column: np.ndarray, scene: np.ndarray) -> np.ndarray:
    found = np.empty(len(column), int)
    for number in np.unique(scene):
        mine = scene == number
        found[mine] = _sides(column[mine])
    return found


def _sides(values: np.ndarray) -> np.ndarray:
    """0 where dark, 1 where above the threshold, 2 where unknown."""
    above = values > scene_threshold(values)
    return np.where(np.isfinite(values), above, 2).astype(int)
