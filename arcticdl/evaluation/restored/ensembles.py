"""Scores of ensembles of images."""

import numpy as np

from arcticdl.metrics.forecasts import ensemble_crps


def ensemble_scores(truth: np.ndarray, members: np.ndarray) -> dict[str, float]:
    """Scores the members of a scene.

    Args:
        truth: ``(y, x)``, NaN where void.
        members: ``(y, x, member)``, all as likely as each other.

    Returns:
        ``crps`` in the label's unit, which for one number is the mean absolute error;
        ``spread``, the root mean square of the members' standard deviation; and
        ``spread_skill``, spread over the error of the mean, 1 where members differ
        from each other as much as from the truth (Fortin et al. 2014,
        doi:10.1175/JHM-D-14-0008.1, with their correction for few members). NaN where
        nothing is known.

    Example:
        >>> found = ensemble_scores(np.array([[0.0]]), np.array([[[-1.0, 1.0, 3.0]]]))
        >>> {name: round(value, 3) for name, value in found.items()}
        {'crps': 0.778, 'spread': 2.0, 'spread_skill': 2.309}
    """
    known = np.isfinite(truth)
    if not known.any():
        return dict.fromkeys(("crps", "spread", "spread_skill"), float("nan"))
    true, drawn = truth[known].astype(np.float64), members[known].astype(np.float64)
    count = drawn.shape[-1]
    spread = float(np.sqrt(np.mean(drawn.var(axis=-1, ddof=1))))
    error = float(np.sqrt(np.mean((drawn.mean(-1) - true) ** 2)))
    wider = float(np.sqrt((count + 1) / count))
    return {
        "crps": float(ensemble_crps(true, drawn.T).mean()),
        "spread": spread,
        "spread_skill": wider * spread / error if error > 0 else float("nan"),
    }
