"""What says that a generator has made a scene: tags of its file, columns of its tiles.

`tiles.folds.made` keeps such scenes out of tests; `sources.tags` reads the tags.
"""

MADE_FROM = "made_from"
"""Names of all scenes that its generator has learnt from."""

CHOSEN_ON = "chosen_on"
"""Names of the scenes by which its generator's weights were chosen."""

COLUMNS = "made_columns"
"""What is told of the scene whose map it bears: a JSON object, column -> text."""
