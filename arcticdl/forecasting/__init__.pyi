# What the package offers, for its lazy loader, for mypy and for editors.
from .baselines import BASELINES as BASELINES
from .baselines import Issue as Issue
from .reference import Reference as Reference
