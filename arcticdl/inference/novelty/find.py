"""The fit of novelty that lies beside a model."""

from pathlib import Path
from typing import Any

import keras

from arcticdl.inference.novelty.distance import FILE, Novelty
from arcticdl.inference.novelty.features import Features
from arcticdl.inference.novelty.saved import read_fit_beside


def find_novelty(model: Any, network: keras.Model) -> tuple[Novelty, Features]:
    """Reads the fit beside a model's file, and checks that it is of this network.

    Args:
        model: What the caller named the model by.
        network: The network.

    Raises:
        ValueError: The model was not given by its file, is one of several, is an
            ensemble, or has other weights than the fit.
        FileNotFoundError: There is no fit.
    """
    paths = list(model) if isinstance(model, list | tuple) else [model]
    if len(paths) != 1 or not isinstance(paths[0], str | Path):
        raise ValueError(
            "Novelty is that of one model, given by the path of its file, beside which "
            f"{FILE} lies. Received: {len(paths)} models, or one in memory."
        )
    path = Path(paths[0]).with_name(FILE)
    features = Features(network)
    what = "what is usual in training"
    return read_fit_beside(Novelty, path, features.weights, what), features
