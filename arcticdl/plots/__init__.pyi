# What the package offers, for its lazy loader, for mypy and for editors.
from .augment import show_augmented as show_augmented
from .cartography import scene_map as scene_map
from .curves import baseline_bars as baseline_bars
from .curves import confusion as confusion
from .curves import reliability as reliability
from .curves import training_curves as training_curves
from .maps import band_composite as band_composite
from .maps import class_map as class_map
from .style import default_colors as default_colors
from .style import figure_png as figure_png
from .style import figure_svg as figure_svg
from .style import house_style as house_style
from .style import new_figure as new_figure
from .style import write_figure as write_figure
from .tiles import show_tiles as show_tiles
