# What the package offers, for its lazy loader, for mypy and for editors.
from .losses import LossCase as LossCase
from .losses import check_loss as check_loss
from .losses import make_case as make_case
from .losses import value_and_gradient as value_and_gradient
from .models import check_backbone as check_backbone
from .models import check_segmenter as check_segmenter
