"""What ``arcticdl train`` adds to a step, beside a network of next to nothing.

    python benchmarks/training_parts.py

In a process of its own the same training takes more or less time of the processor than
beside other work, by more than what is looked for. Here one process trains a network of
610 weights on 64 batches of 8 tiles of 128 px, four epochs each: by bare ``model.fit``
on arrays, without its metric, with Keras's loss in place of ours, and as ``arcticdl
train`` does: tiles read and scaled, history, guard, progress, checkpoints, TensorBoard.
What one takes more than another is what that part costs, whatever the network.
"""

import itertools
import os
import statistics
import tempfile
import time
from pathlib import Path

from training import all_tiles, load, make_store

TINY = (
    "model={backbone: plain, decoder: unet, options: "
    "{backbone_options: {width: 2, depth: 1}, decoder_options: {channels: [2]}}}"
)


def main() -> None:
    import keras

    from arcticdl.experiment.build import build_feeds
    from arcticdl.experiment.network import build_network
    from arcticdl.experiment.train import train_fold

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    folder = Path(tempfile.mkdtemp())
    make_store(folder)
    config, store, split = load(folder, 4, TINY, "train.repeats=8")
    feed, _ = build_feeds(config, store, split, seed=0)
    x, y = all_tiles(feed)
    begun: list[float] = []

    class Times(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            begun.append(time.process_time())

        def on_train_end(self, logs=None):
            begun.append(time.process_time())

    def tell(name: str) -> None:
        epochs = [b - a for a, b in itertools.pairwise(begun[1:])]
        took = 1000 * statistics.median(epochs) / len(feed)
        print(f"{name}: {took:.2f} ms of the processor a batch", flush=True)
        begun.clear()

    def bare(name: str, **changed: object) -> None:
        model = build_network(config, feed.card, 4 * len(feed))
        if changed:
            loss = changed.get("loss", model.loss)
            model.compile(model.optimizer, loss, jit_compile=False)
        model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=[Times()])
        tell(name)

    plain = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, ignore_class=255
    )
    bare("model.fit")
    bare("model.fit without metric", metrics=None)
    bare("model.fit without metric, with Keras's loss", loss=plain)
    run = Path(tempfile.mkdtemp()) / "run"
    train_fold(config, store, split, run, 0, watch=lambda feed: Times())
    tell("arcticdl train")


if __name__ == "__main__":
    main()
