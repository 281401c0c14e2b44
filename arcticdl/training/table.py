"""Optimisers, schedules and callbacks by name, listed without loading Keras."""

from arcticdl.choices import Table

OPTIMIZERS = Table(
    None,
    {
        name: f"keras.optimizers:{name}"
        for name in (
            "Adadelta",
            "Adafactor",
            "Adagrad",
            "Adam",
            "AdamW",
            "Adamax",
            "Ftrl",
            "Lamb",
            "Lion",
            "Muon",
            "Nadam",
            "RMSprop",
            "SGD",
        )
    },
)
"""Name -> the class of Keras. An older Keras lacks the latest of them."""

SCHEDULES = Table(
    None,
    {
        "constant": "arcticdl.training.schedules:constant",
        "cosine": "arcticdl.training.schedules:cosine_with_warmup",
        "cosine_restarts": "arcticdl.training.schedules:cosine_restarts",
        "cyclic": "arcticdl.training.schedules:cyclic",
        "exponential": "arcticdl.training.schedules:exponential",
        "one_cycle": "arcticdl.training.schedules:one_cycle",
        "plateau": "arcticdl.training.schedules:plateau",
        "polynomial": "arcticdl.training.schedules:polynomial",
        "step": "arcticdl.training.schedules:step",
    },
)
"""Name -> function ``(learning_rate, num_steps, *, options) -> schedule``."""

CALLBACKS = Table(
    None,
    {
        "gradients": "arcticdl.training.watch.gradients:GradientWatch",
        "images": "arcticdl.training.reports:TileImages",
        "mlflow": "arcticdl.training.trackers.mlflow:MlflowLog",
        "tensorboard": "arcticdl.training.reports:TensorBoardLog",
        "wandb": "arcticdl.training.trackers.wandb:WandbLog",
    },
)
"""Name -> callback that shows a training: ``(folder, feed, training_feed, *,
options)``, of which it takes what it needs."""
