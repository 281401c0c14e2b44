"""What ``train.remat`` saves of memory, and what it costs of time.

    python benchmarks/remat.py
    KERAS_BACKEND=jax python benchmarks/remat.py

Each row is a process of its own that trains two steps on random images of 256 px. On
TensorFlow the step runs without XLA, and what is told is how much the largest resident
memory of the process grew from before the first step. On JAX it is the sum of what the
forward pass hands to the backward pass, traced and not run: XLA on a processor may undo
the recomputing, so that resident memory says nothing there.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from typing import Any

NETWORKS: dict[str, tuple[str, dict[str, Any], int]] = {
    "U-Net on plain, width 16": ("plain", {"width": 16}, 8),
    "U-Net on ResNet18": ("resnet18", {}, 8),
    "U-Net on Swin-T": ("swin_t", {}, 4),
    "U-Net on ConvNeXt-T": ("convnext_tiny", {}, 4),
}
SIZE_PX = 256


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def kept_mib(model: Any, image: Any, label: Any) -> float:
    """What a forward pass under JAX keeps beside its arguments."""
    from jax._src.ad_checkpoint import saved_residuals

    def loss(learnt: Any) -> Any:
        state = model.non_trainable_variables
        answer, _ = model.stateless_call(learnt, state, image, training=True)
        return model.loss(label, answer)

    learnt = [variable.value for variable in model.trainable_variables]
    kept = [
        a for a, source in saved_residuals(loss, learnt) if "argument" not in source
    ]
    return sum(a.size * a.dtype.itemsize for a in kept) / 2**20


def measure(name: str, remat: bool) -> dict[str, float]:
    """Trains two steps and tells MiB and seconds of the second."""
    import keras
    import numpy as np

    from arcticdl.models import build_segmenter
    from arcticdl.training import remat_blocks

    backbone, options, batch = NETWORKS[name]
    keras.utils.set_random_seed(0)
    model = build_segmenter(
        backbone, num_bands=2, num_classes=3, backbone_options=options
    )
    blocks = remat_blocks(model) if remat else 0
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(batch, SIZE_PX, SIZE_PX, 2)).astype("float32")
    label = rng.integers(0, 3, (batch, SIZE_PX, SIZE_PX))
    if keras.backend.backend() == "jax":
        return {"blocks": blocks, "mib": kept_mib(model, image, label)}
    before = peak_mib()
    model.train_on_batch(image, label)
    begun = time.process_time()
    model.train_on_batch(image, label)
    cpu = time.process_time() - begun
    return {"blocks": blocks, "mib": peak_mib() - before, "cpu_s": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NETWORKS, action="append")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, remat = options.child
        print(json.dumps(measure(name, bool(int(remat)))))
        return
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    for name in options.only or NETWORKS:
        for remat in "01":
            words = [sys.executable, __file__, "--child", name, remat]
            told = subprocess.run(
                words, check=True, capture_output=True, text=True, env=environment
            )
            found = json.loads(told.stdout.splitlines()[-1])
            print(name, {k: round(v, 2) for k, v in found.items()}, flush=True)


if __name__ == "__main__":
    main()
