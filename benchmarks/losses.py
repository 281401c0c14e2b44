"""What a loss with void costs: alone, and in a training step of U-Net ResNet18.

    python benchmarks/losses.py [--batch 4] [--rounds 7]

Training steps (256 x 256 pixels, 3 bands, 6 classes, a third of the pixels void,
float32, Adam, a compiled TensorFlow function) run in turn, round by round, so that a
busy machine hits all of them alike. Times are CPU time of the process, all threads;
medians over rounds. "No loss" is the mean of the logits: what a step costs before
anything is scored. "Alone" is value and gradient of a loss by the logits, without
the network; the share is of a step with no loss.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from arcticdl import losses
from arcticdl.models import build_segmenter

SIZE_PX, NUM_BANDS, NUM_CLASSES = 256, 3, 6


def make_batch(num_samples: int) -> tuple[tf.Tensor, tf.Tensor]:
    """An image and a label with a third of void, in blocks."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(num_samples, SIZE_PX, SIZE_PX, NUM_BANDS))
    blocks = rng.choice([*range(NUM_CLASSES), 255, 255, 255], (num_samples, 16, 16))
    label = blocks.repeat(16, axis=1).repeat(16, axis=2).astype("uint8")
    return tf.constant(image, tf.float32), tf.constant(label)


def no_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(y_pred)


def keras_crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    return loss(y_true, y_pred)


def keras_dice_focal(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """Keras's own pair, which knows no void: labels are clipped into the classes."""
    one_hot = keras.ops.one_hot(tf.minimum(y_true, NUM_CLASSES - 1), NUM_CLASSES)
    prob = keras.ops.softmax(y_pred)
    focal = keras.losses.CategoricalFocalCrossentropy(alpha=1.0)
    return keras.losses.Dice()(one_hot, prob) + focal(one_hot, prob)


LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "no loss": no_loss,
    "Keras cross-entropy": keras_crossentropy,
    "Keras Dice + focal (no void)": keras_dice_focal,
    "Crossentropy": losses.Crossentropy(),
    "DiceCrossentropy": losses.DiceCrossentropy(),
    "DiceFocal": losses.DiceFocal(),
    "LovaszSoftmax": losses.LovaszSoftmax(),
    "Boundary": losses.Boundary(),
    "CenterlineDice": losses.CenterlineDice(),
}

IN_STEP = (
    "no loss",
    "Keras cross-entropy",
    "Keras Dice + focal (no void)",
    "DiceFocal",
)


def make_step(
    model: keras.Model, loss: Callable[..., tf.Tensor], batch: tuple[tf.Tensor, ...]
) -> Callable[[], object]:
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(label, model(image, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(
            zip(gradients, model.trainable_variables, strict=True)
        )
        return value

    return lambda: step(*batch).numpy()


def make_alone(
    loss: Callable[..., tf.Tensor], batch: tuple[tf.Tensor, ...]
) -> Callable[[], object]:
    logits = tf.random.stateless_normal((*batch[1].shape, NUM_CLASSES), (0, 0))

    @tf.function
    def alone(label: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = loss(label, y_pred)
        return tape.gradient(value, y_pred)

    return lambda: alone(batch[1], logits).numpy()


def time_in_turn(
    runs: dict[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """CPU seconds of each run in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(rounds + 1):
        for name, run in runs.items():
            start = time.process_time()
            run()
            if round_:
                seconds[name].append(time.process_time() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    batch = make_batch(arguments.batch)
    model = build_segmenter("resnet18", num_bands=NUM_BANDS, num_classes=NUM_CLASSES)
    steps = {name: make_step(model, LOSSES[name], batch) for name in IN_STEP}
    alone = {name: make_alone(loss, batch) for name, loss in LOSSES.items()}
    in_steps = time_in_turn(steps, arguments.rounds)
    by_itself = time_in_turn(alone, arguments.rounds)
    bare = in_steps["no loss"]
    print("| loss | step (ms) | over no loss | alone (ms) | share of a step |")
    print("|---|---|---|---|---|")
    for name in LOSSES:
        print(describe(name, in_steps.get(name), bare, by_itself[name]))


def describe(
    name: str, in_step: list[float] | None, bare: list[float], alone: list[float]
) -> str:
    alone_s = statistics.median(alone)
    share = alone_s / statistics.median(bare)
    columns = ["", ""]
    if in_step:
        over = statistics.median(in_step) / statistics.median(bare) - 1
        columns = [f"{1e3 * statistics.median(in_step):.0f}", f"{over:+.1%}"]
    columns += [f"{1e3 * alone_s:.1f}", f"{share:.1%}"]
    return f"| {name} | " + " | ".join(columns) + " |"


if __name__ == "__main__":
    main()
