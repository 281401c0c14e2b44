"""What loss curves say, told from numbers, and what to try.

The rules are meant to be silent rather than wrong. They compare changes with two
yardsticks that any loss has, also one that is negative or of unknown scale: the
*progress*, by how much the smoothed loss fell from the first epoch to its lowest, and
the *noise*, by how much single epochs stray from the curve. Rules and their reasons:

- **too short**: under 8 epochs nothing is told but divergence, since the start of every
  training is steep and its noise unknown.
- **divergence**: a loss is no number, or the training loss ends above its lowest by
  half of the progress. It is what is minimised, so but for noise it falls.
- **overfitting**: after its best epoch the validation loss rose by a tenth of the
  training's progress or more while the training loss went on falling: what is learnt
  since then holds for the training tiles alone (Prechelt 1998, Early stopping - but
  when?, doi:10.1007/3-540-49430-8_3).
- **underfitting**: the curves still fall at the end (the last third brought 15 % of all
  progress or more; a straight line would bring a third); or the training loss never
  left its start (it fell by under 5 %) and no score says that all was learnt at once;
  or it is not 5 % better than the loss of the best constant answer, where that is
  known.
- **noisy validation**: epochs of the validation stray by a tenth of the progress or
  more, and twice as far as those of the training: which epoch is best is then luck.
- **plateau**: the last half of the epochs brought under 2 % of the progress.
- **healthy**: none of these.

Noise is the standard deviation that second differences tell, which a smooth curve does
not disturb (Gasser, Sroka and Jennen-Steinmetz 1986, doi:10.1093/biomet/73.3.625), with
the median in place of the mean, so that one odd epoch does not count.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from arcticdl.plots.history import read_history

MIN_EPOCHS = 8
_HIGH_IS_GOOD = ("accuracy", "iou", "f1", "dice", "kappa", "recall", "precision")
_RISE, _LOST, _FALLING, _UNMOVED, _FLAT, _STRAY = 0.1, 0.5, 0.15, 0.05, 0.02, 0.1
_SIGMAS = 3.0


@dataclass(frozen=True)
class Finding:
    """One thing that curves say.

    Attributes:
        kind: ``"overfitting"``, ``"underfitting"``, ``"divergence"``, ``"noisy
            validation"``, ``"plateau"``, ``"healthy"`` or ``"too short"``.
        evidence: What is seen, with its numbers, in a sentence.
        advice: What to try, in a sentence or two.
        numbers: The numbers that decided.
    """

    kind: str
    evidence: str
    advice: str
    numbers: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.kind}: {self.evidence} {self.advice}"


def diagnose(history: Any, *, constant_loss: float | None = None) -> list[Finding]:
    """Names what the curves of a training say; the gravest first.

    Args:
        history: A ``history.csv``, a data frame or a mapping of columns, or the
            ``History`` that ``fit`` returns. Needs ``loss``; says more with
            ``val_loss`` and scores.
        constant_loss: Loss of the best constant answer, such as the entropy of the
            classes' shares (log 2 of two equal ones) for a cross-entropy. Without it a
            network that learns no more than shares is called a plateau.

    Returns:
        At least one finding. What is drawn from the validation needs one.

    Raises:
        FileNotFoundError: If a file is not there.
        ValueError: If it holds no epoch, or no column ``loss``.

    Example:
        >>> epochs = range(20)
        >>> loss = [2.0 * 0.8**epoch for epoch in epochs]
        >>> val_loss = [0.5 + abs(epoch - 6) / 20 for epoch in epochs]
        >>> found = diagnose({"loss": loss, "val_loss": val_loss})[0]
        >>> found.kind, found.numbers["best_epoch"]
        ('overfitting', 7.0)
    """
    table = read_history(history)
    if "loss" not in table:
        raise ValueError(
            "`history` must have a column `loss`. "
            f"Received: columns {[str(name) for name in table.columns]}."
        )
    curves = _Curves.read(table, constant_loss)
    for rule in (_diverged, _too_short):
        if found := rule(curves):
            return [found]
    rules: tuple[Callable[[_Curves], Finding | None], ...]
    rules = (_overfitted, _underfitted, _strayed, _flattened)
    findings = [found for rule in rules if (found := rule(curves))]
    if len(findings) > 1:  # a curve that never moved, or rose again, is flat as well
        findings = [found for found in findings if found.kind != "plateau"]
    return findings or [_healthy(curves)]


@dataclass(frozen=True)
class _Curves:
    """Losses by epoch, smoothed ones, and their yardsticks."""

    table: pd.DataFrame
    epochs: np.ndarray
    raw: dict[str, np.ndarray]
    smooth: dict[str, np.ndarray]
    noise: dict[str, float]
    constant: float | None

    @classmethod
    def read(cls, table: pd.DataFrame, constant: float | None) -> "_Curves":
        names = [name for name in ("loss", "val_loss") if name in table]
        raw = {name: table[name].to_numpy("float64") for name in names}
        if "val_loss" in raw and np.isnan(raw["val_loss"]).all():
            del raw["val_loss"]  # never validated
        count = len(table)
        epochs = (
            table["epoch"].to_numpy("float64")
            if "epoch" in table
            else np.arange(1.0, count + 1)
        )
        smooth = {name: _running_median(curve) for name, curve in raw.items()}
        noise = {name: _noise(curve) for name, curve in raw.items()}
        return cls(table, epochs, raw, smooth, noise, constant)

    @property
    def chief(self) -> str:
        """The curve that matters: that of the validation where there is one."""
        return "val_loss" if "val_loss" in self.raw else "loss"

    def end(self, name: str) -> float:
        """The level at the end: the median of the last tenth, of three epochs or more.

        Only the last few, since a curve that is steep has left what lies before.
        """
        return float(np.median(self.raw[name][-max(3, len(self.epochs) // 10) :]))

    def best(self, name: str) -> int:
        """Where the smoothed curve is lowest; of its neighbours, the lowest itself."""
        near = max(0, int(self.smooth[name].argmin()) - 1)
        return near + int(self.raw[name][near : near + 3].argmin())

    def progress(self, name: str) -> float:
        """From the first epoch to the lowest of the smoothed curve."""
        return float(self.raw[name][0] - min(self.smooth[name].min(), self.end(name)))

    def gained(self, name: str, share: float) -> float:
        """How much the smoothed curve fell in the last `share` of the epochs."""
        start = self.smooth[name][round((1 - share) * (len(self.epochs) - 1))]
        return float(start - self.end(name))


def _running_median(curve: np.ndarray) -> np.ndarray:
    """Of three epochs: a lone outlier is no lowest point. The ends stay as they are."""
    if len(curve) < 3:
        return curve
    inner = np.median(np.lib.stride_tricks.sliding_window_view(curve, 3), axis=-1)
    return np.concatenate([curve[:1], inner, curve[-1:]])


def _noise(curve: np.ndarray) -> float:
    """Standard deviation of single epochs about a smooth curve, from its later half.

    Early epochs are so steep that their curvature would be taken for noise.
    """
    late = curve[len(curve) // 3 :]
    if len(late) < 3:
        return 0.0
    bends = np.abs(np.diff(late, n=2))
    return float(1.4826 * np.median(bends) / np.sqrt(6.0))


def _diverged(curves: _Curves) -> Finding | None:
    advice = (
        "Lower the learning rate (a tenth of it is a fair first try), warm it up, or "
        "clip gradients."
    )
    for name, curve in curves.raw.items():
        broken = ~np.isfinite(curve)
        if broken.any():
            epoch = curves.epochs[broken.argmax()]
            what = f"`{name}` is no number from epoch {epoch:g} on."
            return Finding("divergence", what, advice, {"epoch": float(epoch)})
    if len(curves.epochs) < 3:
        return None
    lowest, first = float(curves.smooth["loss"].min()), float(curves.raw["loss"][0])
    # Even the best of the last epochs is that far above. A loss that grows by the same
    # factor every epoch has no noise to tell, hence the second measure.
    rise, progress = float(curves.raw["loss"][-3:].min()) - lowest, first - lowest
    least = min(_SIGMAS * curves.noise["loss"], 0.1 * abs(first))
    if rise <= least or rise < _LOST * progress:
        return None
    low_epoch = curves.epochs[curves.smooth["loss"].argmin()]
    what = (
        f"the training loss rose from {lowest:.4g} (epoch {low_epoch:g}) to "
        f"{curves.end('loss'):.4g}; it had begun at {first:.4g}."
    )
    numbers = {"rise": rise, "progress": progress, "lowest_epoch": float(low_epoch)}
    return Finding("divergence", what, advice, numbers)


def _too_short(curves: _Curves) -> Finding | None:
    count = len(curves.epochs)
    if count >= MIN_EPOCHS:
        return None
    what = f"{count} epochs; curves are read from {MIN_EPOCHS} on."
    return Finding("too short", what, "Train for longer.", {"epochs": float(count)})


def _overfitted(curves: _Curves) -> Finding | None:
    if "val_loss" not in curves.raw:
        return None
    best = curves.best("val_loss")
    rise = curves.end("val_loss") - float(curves.smooth["val_loss"][best])
    fall = float(curves.smooth["loss"][best]) - curves.end("loss")
    least = _RISE * curves.progress("loss")
    rises = rise > max(least, _SIGMAS * curves.noise["val_loss"])
    falls = fall > _SIGMAS * curves.noise["loss"] and fall > 0
    if len(curves.epochs) - 1 - best < 3 or not (rises and falls):
        return None
    epoch = float(curves.epochs[best])
    what = (
        f"since epoch {epoch:g} the validation loss rose by {rise:.4g} (to "
        f"{curves.end('val_loss'):.4g}) while the training loss fell by {fall:.4g} (to "
        f"{curves.end('loss'):.4g})."
    )
    advice = (
        "Stop early and keep the best epoch, augment more, use more scenes, decay "
        "weights more, or take a smaller network."
    )
    numbers = {"best_epoch": epoch, "rise": rise, "fall": fall}
    return Finding("overfitting", what + _still_better(curves, best), advice, numbers)


def _still_better(curves: _Curves, best: int) -> str:
    """Says so where answers still got better: then the confidence alone overfits."""
    for name in curves.table:
        if str(name).startswith("val_") and str(name).endswith(_HIGH_IS_GOOD):
            score = curves.table[name].to_numpy("float64")
            then, now = score[best], float(np.median(score[-3:]))
            if np.isfinite([then, now]).all() and now > then + _SIGMAS * _noise(score):
                return (
                    f" `{name}` still rose, {then:.3f} to {now:.3f}: the answers get "
                    "better, what overfits is how sure they are."
                )
    return ""


def _underfitted(curves: _Curves) -> Finding | None:
    name = curves.chief
    progress, gained = curves.progress(name), curves.gained(name, 1 / 3)
    moves = max(progress, 0.0) > 2 * _SIGMAS * curves.noise[name]
    if moves and gained > max(_FALLING * progress, _SIGMAS * curves.noise[name]):
        what = (
            f"`{name}` still falls: the last third of the epochs brought "
            f"{gained / progress:.0%} of all progress."
        )
        advice = "Train for more epochs, or with a higher learning rate."
        numbers = {"gained": gained, "progress": progress}
        return Finding("underfitting", what, advice, numbers)
    return _unlearned(curves)


def _unlearned(curves: _Curves) -> Finding | None:
    first, end = float(curves.raw["loss"][0]), curves.end("loss")
    advice = (
        "Try a higher learning rate (`arcticdl rate` finds one) or a larger network, "
        "or look whether bands and labels belong together."
    )
    constant = curves.constant
    if constant is not None and end > constant - _UNMOVED * abs(constant):
        what = f"the training loss ends at {end:.4g}, a constant answer's is "
        what += f"{constant:.4g}."
        return Finding("underfitting", what, advice, {"end": end, "constant": constant})
    fell = curves.progress("loss")
    if fell >= _UNMOVED * abs(first) or first == 0 or _scores_well(curves.table):
        return None
    what = f"the training loss never left its start: {first:.4g} to {end:.4g}."
    advice += " A network that begins trained may have learnt all in its first epoch."
    return Finding("underfitting", what, advice, {"fell": fell, "first": first})


def _scores_well(table: pd.DataFrame) -> bool:
    names = [n for n in table if str(n).endswith(_HIGH_IS_GOOD)]
    return any(float(np.nanmedian(table[name].iloc[-3:])) > 0.8 for name in names)


def _strayed(curves: _Curves) -> Finding | None:
    if "val_loss" not in curves.raw:
        return None
    noise, calm = curves.noise["val_loss"], curves.noise["loss"]
    progress = max(curves.progress("val_loss"), curves.progress("loss"))
    if noise <= _STRAY * max(progress, 0.0) or noise <= 2 * calm:
        return None
    what = (
        f"single epochs of the validation loss stray by {noise:.3g}, "
        f"{noise / max(progress, 1e-12):.0%} of all progress; those of the training by "
        f"{calm:.3g}."
    )
    advice = (
        "Use more validation scenes, average weights (`train.ema`), or "
        "lower the learning rate; the best of single epochs is luck."
    )
    numbers = {"noise": noise, "training_noise": calm, "progress": progress}
    return Finding("noisy validation", what, advice, numbers)


def _flattened(curves: _Curves) -> Finding | None:
    name = curves.chief
    progress, gained = curves.progress(name), curves.gained(name, 0.5)
    if abs(gained) > _FLAT * progress + curves.noise[name]:
        return None
    half = curves.epochs[round(0.5 * (len(curves.epochs) - 1))]
    fell = curves.gained("loss", 0.5)
    learns = name == "val_loss" and fell > _FALLING * curves.progress("loss")
    what = (
        f"`{name}` has stood at {curves.end(name):.4g} since epoch {half:g} or before"
    )
    if learns:
        what += f", while the training loss fell by {fell:.4g}."
        advice = "Use more scenes or more augmentation; or stop at that epoch."
    else:
        what += "."
        advice = (
            "Fewer epochs would do; or lower the rate there, or try a larger network."
        )
    numbers = {"gained": gained, "progress": progress, "since": float(half)}
    return Finding("plateau", what, advice, numbers)


def _healthy(curves: _Curves) -> Finding:
    name = curves.chief
    first, end, best = float(curves.raw[name][0]), curves.end(name), curves.best(name)
    lowest, epoch = float(curves.raw[name][best]), float(curves.epochs[best])
    what = (
        f"`{name}` went from {first:.4g} to {end:.4g}; the lowest was {lowest:.4g} in "
        f"epoch {epoch:g}."
    )
    return Finding("healthy", what, "", {"first": first, "end": end, "best": lowest})
