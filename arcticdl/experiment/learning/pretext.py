"""The pretext of an experiment: what its images alone can teach its network."""

from typing import Any

from arcticdl.choices import check_choice
from arcticdl.config import Experiment
from arcticdl.config.model import MIXING
from arcticdl.config.read import check_tree
from arcticdl.errors import ConfigError
from arcticdl.experiment.data.anchors import find_anchors
from arcticdl.experiment.scenes import open_configured
from arcticdl.tiles.normalize import INVERTIBLE

LABEL = "bands"
"""Name of the label that is the image itself."""

SUFFIX = "_pretrained"
"""What the pretext's name ends with, after that of the experiment."""

_OF_LABELS = (
    *("label", "loss", "heads", "predict", "baselines", "strata", "strata_within"),
    "search",
)
_OF_SCORES = ("metrics", "early_stopping", "head_weights", "ensemble", "sampler")

PRETEXTS = ("contrastive", "masked")
"""What a network may learn from images alone."""

VIEWS: tuple[dict[str, Any], ...] = (
    {"name": "resized_crop", "share": [0.5, 1.0], "p": 1.0},
    {"name": "hflip"},
    {"name": "vflip"},
    {"name": "offset", "amount": [-0.5, 0.5], "p": 0.8},
    {"name": "noise", "std": [0.0, 0.3], "p": 0.8},
    {"name": "blur", "p": 0.5},
)
"""Steps by which two views of a tile differ, where an experiment has none of the name:
of position, level and grain, none of which tells what is there."""


def pretext(
    config: Experiment,
    *,
    by: str = "masked",
    share: float = 0.6,
    patch_px: int = 16,
    temperature: float = 0.1,
) -> Experiment:
    """Makes an experiment of the same images, folds and network that needs no labels.

    ``"masked"``: patches of the image are hidden, and the network learns to tell the
    bands there from what it sees around them (masked image modelling). Its answer
    begins as the mean of what is shown, and only hidden valid pixels are scored.
    ``"contrastive"``: each tile is augmented twice, by the steps of the experiment and
    those of ``VIEWS`` that it lacks, and the network learns to tell the two views from
    those of other tiles. Held-out scenes are held out here as well, so that
    ``model.warm_start`` may name its run.

    Args:
        config: The experiment. Its labels, loss, scores and steps that mix samples by
            class are left out; scaling by image, which cannot be undone, is
            ``zscore`` instead.
        by: One of ``PRETEXTS``.
        share: Share of the patches that is hidden, above 0 and below 1.
        patch_px: Side of a patch in pixels.
        temperature: Of the contrast, see ``models.nt_xent``.

    Returns:
        The experiment ``NAME_pretrained``.

    Raises:
        FileNotFoundError: There is no scene, whose bands are asked.
        ConfigError: The experiment is a series, whose label is an image already; or
            the patch is no smaller than a tile, or folds are dealt by a label; or
            something of the experiment does not go with ``model.contrastive``.
        ValueError: ``by`` is none of ``PRETEXTS``.

    Reference:
        SimMIM, Xie et al. 2022, doi:10.1109/CVPR52688.2022.00943. SimCLR, Chen et al.
        2020, arXiv:2002.05709.
    """
    check_choice("by", by, PRETEXTS)
    size = config.tiles.size_px
    if by == "masked" and patch_px >= max(size if isinstance(size, tuple) else (size,)):
        raise ConfigError(
            "`patch_px` (--patch) must be smaller than a tile. Received: "
            f"patch_px={patch_px}, `tiles.size_px` {size}."
        )
    if label := config.folds.splitter.options.get("stratify"):
        raise ConfigError(
            "`folds.splitter.options.stratify` deals scenes out by a label, which a "
            f"pretraining does not have. Received: {label!r}. Leave it out, here and "
            "in the training that begins from it, so that both have the same folds."
        )
    tree = config.model_dump(mode="json", exclude_unset=True)
    for key in _OF_LABELS:
        tree.pop(key, None)
    bands = list(_bands_of(config))
    own = {"band": bands, "restores": bands}
    tree["name"] = config.name + SUFFIX
    what = {"masked": "Hidden parts", "contrastive": "Pairs of views"}[by]
    tree["description"] = f"{what} of the images of {config.name}"
    tree["data"] |= {"labels": {LABEL: own}}
    tree["task"] = "dense_regression"
    tree.get("tiles", {}).pop("store", None)
    tree.get("model", {}).pop("warm_start", None)
    train = {k: v for k, v in tree.get("train", {}).items() if k not in _OF_SCORES}
    if train.get("normalizer", "zscore") not in INVERTIBLE:
        train["normalizer"] = "zscore"
    steps: list[dict[str, Any]] = [
        step for step in train.get("augment", ()) if step["name"] not in MIXING
    ]
    if by == "masked":
        steps.append({"name": "hide_patches", "share": share, "patch_px": patch_px})
    else:
        known = {step["name"] for step in steps}
        steps += [dict(step) for step in VIEWS if step["name"] not in known]
        train["metrics"] = []  # the label is not learnt
        told = {"contrastive": {"temperature": temperature}}
        tree["model"] = tree.get("model", {}) | told
    train["augment"] = steps
    return check_tree({**tree, "train": train}, f"the pretext of {config.name}")


def _bands_of(config: Experiment) -> tuple[str, ...]:
    """Bands of the first scene, as the network gets them."""
    anchor = find_anchors(config.data)[0]
    scene = open_configured(config.data, anchor, with_labels=False)
    return tuple(str(band) for band in scene["band"].values)
