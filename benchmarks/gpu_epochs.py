"""An epoch on a GPU by ``arcticdl train``, by ``model.fit`` and by PyTorch.

    KERAS_BACKEND=jax python benchmarks/gpu_epochs.py [--rounds 5] [--folder FOLDER]

U-Net ResNet18, 256 px, batch 32, in float32 and in bfloat16, on tiles of simulated
scenes: `experiment.train_fold`, which is what ``arcticdl train`` runs; ``model.fit`` of
the same compiled network on the same tiles as arrays; and
segmentation-models-pytorch under a DataLoader. Each in a process of its own; they warm
up side by side and then train an epoch in turn. Results are lines of JSON. On JAX the
warming up takes minutes: XLA tries many kernels.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from gpu import BATCH, REPEATS, all_tiles, built, load, prepare, tell

EPOCHS = 10_000
KINDS = ("arcticdl", "fit", "torch")


class Turns:
    """Waits to be asked for an epoch, and answers with the seconds of the last one."""

    def __init__(self) -> None:
        self.begun: float | None = None

    def next(self) -> None:
        """Answers, and waits."""
        if self.begun is not None:
            print(f"TOOK {time.perf_counter() - self.begun}", flush=True)
        if sys.stdin.readline().strip() != "epoch":
            os._exit(0)
        self.begun = time.perf_counter()


def turning():
    """A callback that waits before each epoch."""
    import keras

    turns = Turns()

    class Waits(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            turns.next()

    return Waits()


class Contestant:
    """A process that trains an epoch when asked."""

    def __init__(self, kind: str, precision: str) -> None:
        self.kind, self.precision = kind, precision
        self.log = open(f"{kind}-{precision}.log", "w")  # noqa: SIM115
        self.began = time.perf_counter()
        less = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # they share the card
        self.process = subprocess.Popen(
            [
                sys.executable,
                __file__,
                "--folder",
                ".",
                "--serve",
                kind,
                "--precision",
                precision,
            ],
            env={**os.environ, **less},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.ask()

    def ask(self) -> None:
        """Asks for an epoch."""
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()

    def answer(self) -> float | None:
        """Seconds of the epoch that was asked for; ``None``: the process ended."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("TOOK"):
                return float(line.split()[1])
        return None


def train_arcticdl(precision: str) -> None:
    from arcticdl.experiment.train import train_fold

    config, store, split = load(EPOCHS, precision)
    run = Path(f"run-{precision}")
    train_fold(
        config, store, split, run, 0, overwrite=True, watch=lambda feed: turning()
    )


def train_fit(precision: str) -> None:
    model, feed = built(EPOCHS, precision)
    x, y = all_tiles(feed)
    model.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0, callbacks=[turning()])


def train_torch(precision: str) -> None:
    import numpy as np
    import segmentation_models_pytorch as smp
    import torch

    x = np.load("x.npy", mmap_mode="r")
    y = np.load("y.npy", mmap_mode="r")
    mean, std = x.mean((0, 1, 2)), x.std((0, 1, 2))

    class Tiles(torch.utils.data.Dataset):
        def __len__(self):
            return len(x) * REPEATS

        def __getitem__(self, index):
            image = (x[index % len(x)] - mean) / std
            label = y[index % len(x)].astype("int64")
            return image.transpose(2, 0, 1).astype("float32"), label

    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(
        Tiles(),
        batch_size=BATCH,
        shuffle=True,
        num_workers=8,
        drop_last=True,
        pin_memory=True,
        persistent_workers=True,
    )
    classes = int(y[y != 255].max()) + 1
    model = smp.Unet(
        "resnet18", encoder_weights=None, in_channels=x.shape[-1], classes=classes
    ).to("cuda", memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    half = {"mixed_bfloat16": torch.bfloat16}.get(precision)
    turns = Turns()
    model.train()
    while True:
        turns.next()
        for image, label in loader:
            image = image.to(
                "cuda", memory_format=torch.channels_last, non_blocking=True
            )
            label = label.to("cuda", non_blocking=True)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cuda", half or torch.bfloat16, enabled=bool(half)):
                logits = model(image)
            loss = torch.nn.functional.cross_entropy(
                logits.float(), label, ignore_index=255
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()


def save_arrays() -> None:
    """The same tiles for PyTorch, unscaled as in the store."""
    import numpy as np

    from arcticdl.training import TileFeed

    if Path("x.npy").exists():
        return
    _, store, split = load(1, "float32")
    x, y = all_tiles(TileFeed(store, split.train, batch_size=BATCH, normalizer="none"))
    np.save("x.npy", x)
    np.save("y.npy", y)


def epochs(precisions: list[str], rounds: int) -> None:
    """All contestants warm up side by side; then each trains an epoch in turn."""
    prepare()
    save_arrays()
    kinds = KINDS if find_spec("segmentation_models_pytorch") else KINDS[:2]
    field = [Contestant(kind, p) for p in precisions for kind in kinds]
    for one in field:
        first = one.answer()
        ready = time.perf_counter() - one.began
        tell("first", kind=one.kind, precision=one.precision, s=first, ready_s=ready)
    took: dict[Contestant, list[float]] = {one: [] for one in field}
    for _ in range(rounds):
        for one in [one for one in field if one.process.poll() is None]:
            one.ask()
            took[one].append(one.answer() or float("nan"))
    samples = len(load(1, "float32")[2].train) * REPEATS
    for one, seconds in took.items():
        ours = next(o for o in field if o.precision == one.precision)
        median = statistics.median(seconds) if seconds else float("nan")
        tell(
            "epochs",
            kind=one.kind,
            precision=one.precision,
            epoch_s=median,
            samples_per_s=samples / median,
            arcticdl_over_it=statistics.median(took[ours]) / median,
        )
        one.process.stdin.close()
    for precision in precisions:
        speed = Path(f"run-{precision}/fold0/speed.csv").read_text().splitlines()
        tell("speed", precision=precision, last=speed[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="epochs of each")
    parser.add_argument("--folder", type=Path, help="for scenes, tiles and runs")
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    serve = {"arcticdl": train_arcticdl, "fit": train_fit, "torch": train_torch}
    if asked.serve:
        serve[asked.serve](asked.precision)
    else:
        epochs(["float32", "mixed_bfloat16"], asked.rounds)


if __name__ == "__main__":
    main()
