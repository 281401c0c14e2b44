"""Every loss of the table keeps the laws, in each form it has."""

import pytest

from arcticdl import losses
from arcticdl.testing.losses import check_loss

VARIANTS = [
    losses.Boundary(radius_px=3, multilabel=True),
    losses.BootstrappedCrossentropy(opinion="hard", label_share=0.8),
    losses.BootstrappedCrossentropy(multilabel=True),
    losses.CenterlineDice(pool="sample", classes=[0, 2]),
    losses.CenterlineDice(multilabel=True),
    losses.Crossentropy(class_weights=[1.0, 0.0, 3.0], label_smoothing=0.1),
    losses.Crossentropy(hard_fraction=0.25),
    losses.Crossentropy(multilabel=True, class_weights=[1.0, 2.0, 3.0]),
    losses.CumulativeOrdinal(threshold_weights=[1.0, 2.0, 0.5, 1.0]),
    losses.Dice(class_weights=[0.0, 1.0, 2.0]),
    losses.Dice(pool="sample", smooth=1.0),
    losses.Dice(pool="all"),
    losses.Dice(generalized=True),
    losses.Dice(generalized=True, pool="sample"),
    losses.Dice(multilabel=True),
    losses.DiceFocal(class_weights=[1.0, 2.0, 3.0], reduction="sum"),
    losses.DominanceCrossentropy(min_share=0.65, power=2.0),
    losses.EarthMover(order=1),
    losses.Focal(gamma=0.5),
    losses.Focal(gamma=0.0, multilabel=True),
    losses.FocalTversky(gamma=1.5, alpha=0.5),
    losses.Hinge(multilabel=True),
    losses.Interval(power=1, from_logits=False),
    losses.Interval(from_logits=False, half_width=0.1),
    losses.LovaszSoftmax(pool="sample"),
    losses.LovaszSoftmax(multilabel=True),
    losses.Proportion(divergence="l1", weigh_by="polygon", max_polygons=4),
    losses.Sum([losses.Crossentropy(), losses.Boundary(radius_px=3)], [1.0, 0.1]),
    losses.SymmetricCrossentropy(multilabel=True),
]


def _describe(loss):
    return type(loss).__name__


BY_ELEMENT = [
    # Those of detectors have laws of their own: places are no elements of a label.
    name
    for name in sorted(losses.LOSSES)
    if losses.LOSSES[name]().prediction_form != "places"
]


@pytest.mark.backend
@pytest.mark.parametrize("name", BY_ELEMENT)
def test_each_loss_of_the_table_keeps_the_laws(name):
    check_loss(losses.LOSSES[name]())


@pytest.mark.backend
@pytest.mark.parametrize("loss", VARIANTS, ids=_describe)
def test_each_form_keeps_the_laws(loss):
    check_loss(loss)
