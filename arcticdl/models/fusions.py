"""How the images of a series become one, by name, listed without loading Keras."""

from arcticdl.choices import Table

FUSIONS = Table(
    None,
    {
        "attention": "arcticdl.models.layers.temporal:fuse_attention",
        "convlstm": "arcticdl.models.layers.temporal:fuse_convlstm",
        "fold": "arcticdl.models.layers.temporal:FoldTime",
        "mean": "arcticdl.models.layers.temporal:fuse_mean",
    },
)
"""``"fold"`` is a layer before the encoder, the others functions after it, level by
level. ``"convlstm"`` and ``"fold"`` need a known number of times."""
