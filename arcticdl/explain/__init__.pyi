# What the package offers, for its lazy loader, for mypy and for editors.
from .bands import band_importance as band_importance
from .boundaries import Boundaries as Boundaries
from .boundaries import decision_boundaries as decision_boundaries
from .deletion import Deletion as Deletion
from .deletion import deletion_curves as deletion_curves
from .explainer import Explainer as Explainer
from .explainer import explain_scene as explain_scene
from .table import METHODS as METHODS
