"""The pretext of an experiment: to tell hidden parts of its images, without labels."""

from typing import Any

from arcticdl.config import Experiment
from arcticdl.config.read import check_tree
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.scenes import open_configured
from arcticdl.tiles.normalize import INVERTIBLE

LABEL = "bands"
"""Name of the label that is the image itself."""

SUFFIX = "_pretrained"
"""What the pretext's name ends with, after that of the experiment."""

_MIXING = ("classmix", "copy_paste", "cutmix", "mixup")
_OF_LABELS = (
    *("label", "loss", "heads", "predict", "baselines", "strata", "strata_within"),
    "search",
)
_OF_SCORES = ("metrics", "early_stopping", "head_weights", "ensemble", "sampler")


def pretext(
    config: Experiment, *, share: float = 0.6, patch_px: int = 16
) -> Experiment:
    """Makes an experiment of the same images, folds and network that needs no labels.

    Patches of the image are hidden, and the network learns to tell the bands there
    from what it sees around them (masked image modelling). Its answer begins as the
    mean of what is shown, and only hidden valid pixels are scored. Held-out scenes are
    held out here as well, so that ``model.warm_start`` may name its run.

    Args:
        config: The experiment. Its labels, loss, scores and steps that mix samples by
            class are left out; scaling by image, which cannot be undone, is
            ``zscore`` instead.
        share: Share of the patches that is hidden, above 0 and below 1.
        patch_px: Side of a patch in pixels.

    Returns:
        The experiment ``NAME_pretrained``.

    Raises:
        FileNotFoundError: There is no scene, whose bands are asked.
        ConfigError: The experiment is a series, whose label is an image already; or
            the patch is no smaller than a tile.

    Reference:
        SimMIM, Xie et al. 2022, doi:10.1109/CVPR52688.2022.00943.
    """
    size = config.tiles.size_px
    if patch_px >= max(size if isinstance(size, tuple) else (size,)):
        raise ConfigError(
            "`patch_px` (--patch) must be smaller than a tile. Received: "
            f"patch_px={patch_px}, `tiles.size_px` {size}."
        )
    tree = config.model_dump(mode="json", exclude_unset=True)
    for key in _OF_LABELS:
        tree.pop(key, None)
    bands = list(_bands_of(config))
    own = {"band": bands, "restores": bands}
    tree["name"] = config.name + SUFFIX
    tree["description"] = f"Hidden parts of the images of {config.name}"
    tree["data"] |= {"labels": {LABEL: own}}
    tree["task"] = "dense_regression"
    tree.get("tiles", {}).pop("store", None)
    tree.get("model", {}).pop("warm_start", None)
    train = {k: v for k, v in tree.get("train", {}).items() if k not in _OF_SCORES}
    if train.get("normalizer", "zscore") not in INVERTIBLE:
        train["normalizer"] = "zscore"
    hide = {"name": "hide_patches", "share": share, "patch_px": patch_px}
    steps: list[dict[str, Any]] = list(train.get("augment", ()))
    train["augment"] = [s for s in steps if s["name"] not in _MIXING] + [hide]
    return check_tree({**tree, "train": train}, f"the pretext of {config.name}")


def _bands_of(config: Experiment) -> tuple[str, ...]:
    """Bands of the first scene, as the network gets them."""
    anchor = find_anchors(config.data)[0]
    scene = open_configured(config.data, anchor, with_labels=False)
    return tuple(str(band) for band in scene["band"].values)
