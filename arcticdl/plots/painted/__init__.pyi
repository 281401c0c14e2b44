# What the package offers, for its lazy loader, for mypy and for editors.
from .scene import scene_picture as scene_picture
