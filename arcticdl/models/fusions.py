"""How the images of a series become one, by name, listed without loading Keras."""

from arcticdl.choices import Table

FUSIONS = Table(
    None,
    {
        "attention": "arcticdl.models.layers.temporal:fuse_attention",
        "convgru": "arcticdl.models.layers.temporal:fuse_convgru",
        "convlstm": "arcticdl.models.layers.temporal:fuse_convlstm",
        "fold": "arcticdl.models.layers.temporal:FoldTime",
        "gru": "arcticdl.models.layers.recurrent:fuse_gru",
        "lstm": "arcticdl.models.layers.recurrent:fuse_lstm",
        "mean": "arcticdl.models.layers.temporal:fuse_mean",
        "transformer": "arcticdl.models.layers.space_time:fuse_transformer",
    },
)
"""``"fold"`` is a layer before the encoder, the others functions after it, level by
level. ``"gru"`` and ``"lstm"`` look at each pixel by itself. ``"convgru"``,
``"convlstm"``, ``"fold"`` and ``"transformer"`` need a known number of times."""
