"""The detectors by name, listed without loading Keras."""

from dataclasses import dataclass

from arcticdl.choices import Table
from arcticdl.models.contracts import Decoder


@dataclass(frozen=True)
class Detector(Decoder):
    """One detector, as ``DETECTORS`` holds it: what stands on a backbone's pyramid.

    ``build(features, image, *, num_classes, oriented, norm, activation, name,
    **options)`` gives the rows of ``arcticdl.tasks.objects``, float32 ``(batch, place,
    11 + class)``.

    Attributes:
        loss: Name of the loss that matches truth with its places.
    """

    loss: str = "CentreDetection"


DETECTORS = Table(
    None,
    {
        "fcos": "arcticdl.models.detection.fcos:FCOS",
        "retinanet": "arcticdl.models.detection.retinanet:RETINANET",
    },
    kind=Detector,
)
"""Name -> its ``Detector``."""

LOSS_OF = {"fcos": "CentreDetection", "retinanet": "AnchorDetection"}
"""Name -> the loss that it learns by; known without Keras."""

GIVEN = ("num_classes", "oriented", "norm", "activation", "name")
"""Arguments of a detector that are not options: data and style say what they are."""
