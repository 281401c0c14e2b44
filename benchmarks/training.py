"""An epoch by ``arcticdl train`` beside bare ``model.fit`` and beside PyTorch.

    python benchmarks/training.py [--peers PYTHON] [--rounds 5] [--json FILE]
    python benchmarks/training.py --memory | --folds arcticdl | --folds fit

``PYTHON`` is an interpreter with torch and segmentation-models-pytorch; without it
their row is left out. U-Net ResNet18, float32, AdamW, cross-entropy, on tiles of
simulated scenes. Each contestant lives in a process of its own and trains one epoch
when asked, round by round in turn, after one round to warm up. An epoch visits each
training tile four times, without a validation:

- ``arcticdl``: `experiment.train_fold`, which is what ``arcticdl train`` runs: tiles
  read from the store and scaled, metrics, history, guard against NaN, checkpoints;
- ``fit``: the same compiled network by ``model.fit(x, y)`` on the same tiles as arrays;
- ``torch``: segmentation-models-pytorch, its tiles read from a ``.npy`` by a DataLoader
  with one worker, scaled in the worker.

Seconds of the processor (user and system, of the process and of its workers) are what
is compared, since other work on the machine moves wall time; medians over rounds.
``--memory`` prints the resident size over 50 epochs, ``--folds`` after each of 5 folds
of an epoch in one process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZE_PX, BATCH, SCENES, REPEATS = 128, 8, 6, 4
KINDS = ("arcticdl", "fit", "torch")
SET = (
    f"tiles.size_px={SIZE_PX}",
    "folds={n_splits: 3}",
    "model={backbone: resnet18, decoder: unet}",
    "loss={name: Crossentropy}",
    "baselines=false",
)


def cpu_seconds() -> float:
    """User and system time of this process and of workers that have ended."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, both))


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Turns:
    """Waits to be asked for an epoch, and answers with what the last one took."""

    def __init__(self) -> None:
        self.begun: tuple[float, float] | None = None
        self.aside = 0.0

    def next(self) -> None:
        """Answers, and waits."""
        if self.begun is None:
            print("READY", flush=True)
        else:
            wall, cpu = self.begun
            told = {
                "wall_s": time.perf_counter() - wall,
                "cpu_s": cpu_seconds() - cpu,
                "aside_s": self.aside,
                "resident_mib": resident_mib(),
            }
            print(json.dumps(told), flush=True)
        if sys.stdin.readline().strip() != "epoch":
            os._exit(0)
        self.aside = 0.0
        self.begun = time.perf_counter(), cpu_seconds()


def load(folder: Path, epochs: int, *more: str):
    """The configuration, its store and the parts of fold 0."""
    from arcticdl.config import load_config
    from arcticdl.experiment import open_prepared, split_folds

    train = f"train={{epochs: {epochs}, batch_size: {BATCH}, repeats: {REPEATS}}}"
    changes = (*SET, train, *more)
    config = load_config(
        ROOT / "configs" / "demo.yaml", (*changes, "train.jit_compile=false")
    )
    os.chdir(folder)
    store = open_prepared(config)
    return config, store, split_folds(config, store, [0])[0]


def turning(turns: Turns):
    """A callback that waits before each epoch."""
    import keras

    class Waits(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            turns.next()

    return Waits()


def time_checkpoints(turns: Turns) -> None:
    """Adds what checkpoints and signals take of the main thread to ``aside``."""
    from arcticdl.training import Checkpoint

    for name in ("on_train_batch_begin", "on_train_batch_end", "on_epoch_end"):
        method = getattr(Checkpoint, name)

        def timed(self, *args, _method=method, **options):
            start = time.thread_time()
            try:
                return _method(self, *args, **options)
            finally:
                turns.aside += time.thread_time() - start

        setattr(Checkpoint, name, timed)


def train_ours(folder: Path) -> None:
    from arcticdl.experiment.train import train_fold

    config, store, split = load(folder, 10_000)
    turns = Turns()
    time_checkpoints(turns)
    run = Path(tempfile.mkdtemp()) / "run"
    train_fold(config, store, split, run, 0, watch=lambda feed: turning(turns))


def all_tiles(feed):
    """The tiles of an epoch as arrays, images (tile, y, x, band) and labels."""
    import numpy as np

    batches = [feed[number] for number in range(len(feed))]
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def train_bare(folder: Path) -> None:
    from arcticdl.experiment.build import build_feeds
    from arcticdl.experiment.network import build_network

    config, store, split = load(folder, 10_000)
    feed, _ = build_feeds(config, store, split, seed=0)
    model = build_network(config, feed.card, 10_000 * len(feed))
    x, y = all_tiles(feed)
    model.fit(
        x, y, batch_size=BATCH, epochs=10_000, verbose=0, callbacks=[turning(Turns())]
    )


def save_arrays(folder: Path) -> None:
    """The same tiles for PyTorch, unscaled as in the store, and how they are scaled."""
    import numpy as np

    from arcticdl.training import TileFeed

    _, store, split = load(folder, 1)
    plain = TileFeed(store, split.train, batch_size=BATCH, normalizer="none")
    x, y = all_tiles(plain)
    np.save(folder / "x.npy", x[: len(x) // BATCH * BATCH])
    np.save(folder / "y.npy", y[: len(y) // BATCH * BATCH])


def train_torch(folder: Path) -> None:
    import numpy as np
    import segmentation_models_pytorch as smp
    import torch

    x = np.load(folder / "x.npy", mmap_mode="r")
    y = np.load(folder / "y.npy", mmap_mode="r")
    mean, std = x.mean((0, 1, 2)), x.std((0, 1, 2))

    class Tiles(torch.utils.data.Dataset):
        def __len__(self):
            return len(x) * REPEATS

        def __getitem__(self, index):
            at = index % len(x)
            image = ((x[at] - mean) / std).transpose(2, 0, 1)
            return image.astype("float32"), y[at].astype("int64")

    torch.manual_seed(0)
    loader = torch.utils.data.DataLoader(
        Tiles(), batch_size=BATCH, shuffle=True, num_workers=1, drop_last=True
    )
    classes = int(y[y != 255].max()) + 1
    model = smp.Unet(
        "resnet18", encoder_weights=None, in_channels=x.shape[-1], classes=classes
    ).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    turns = Turns()
    model.train()
    while True:
        turns.next()
        for image, label in loader:
            image = image.to(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(
                model(image), label, ignore_index=255
            )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            loss.item()


class Contestant:
    """A process that trains an epoch when asked."""

    def __init__(self, python: str, kind: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--serve", kind, "--folder", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._wait_for("READY")
        self._ask()

    def _ask(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("epoch\n")
        self.process.stdin.flush()

    def _wait_for(self, start: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self.process.args} ended early.")

    def answer(self) -> dict[str, float]:
        """What the epoch took that was asked for."""
        return json.loads(self._wait_for('{"wall_s"'))

    def epoch(self) -> dict[str, float]:
        """What an epoch takes."""
        self._ask()
        return self.answer()

    def stop(self) -> None:
        """Lets the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=60)


def make_store(folder: Path) -> None:
    begin = [sys.executable, "-m", "arcticdl.cli"]
    scenes = ["simulate", "data/demo", "--scenes", str(SCENES), "--size", "512"]
    words = [word for text in SET for word in ("--set", text)]
    config = str(ROOT / "configs" / "demo.yaml")
    for command in (scenes, ["prepare", config, *words]):
        subprocess.run([*begin, *command], cwd=folder, check=True, capture_output=True)


def compare(folder: Path, peers: str | None, rounds: int) -> list[dict[str, object]]:
    kinds = KINDS if peers else KINDS[:2]
    if not (folder / "x.npy").exists():
        save_arrays(folder)
    import numpy as np

    tiles = REPEATS * len(np.load(folder / "y.npy", mmap_mode="r"))
    field = {
        kind: Contestant(
            str(peers) if kind == "torch" else sys.executable, kind, folder
        )
        for kind in kinds
    }
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for contestant in field.values():  # the epoch that warms up
        contestant.answer()
    for number in range(rounds):
        for kind, contestant in field.items():
            found[kind].append(contestant.epoch())
            told = found[kind][-1]
            print(f"round {number + 1} {kind}: {told['cpu_s']:.2f} s", file=sys.stderr)
    for contestant in field.values():
        contestant.stop()
    rows = []
    for kind, told in found.items():
        cpu = [one["cpu_s"] for one in told]
        ratios = [a / b["cpu_s"] for a, b in zip(cpu, found["arcticdl"], strict=True)]
        rows.append(
            {
                "kind": kind,
                "tiles": tiles,
                "cpu_ms_a_tile": 1000 * statistics.median(cpu) / tiles,
                "wall_s": statistics.median(one["wall_s"] for one in told),
                "arcticdl_over_it": 1 / statistics.median(ratios),
                "checkpoints": statistics.median(o["aside_s"] for o in told)
                / statistics.median(cpu),
                "resident_mib": told[-1]["resident_mib"],
            }
        )
    return rows


def watch_memory(folder: Path) -> None:
    """Prints the resident size by epoch."""
    import gc

    import keras

    from arcticdl.experiment.train import train_fold

    small = (
        "model={backbone: plain, decoder: unet}",
        f"folds={{n_splits: {SCENES - 1}}}",
        "train.repeats=1",
    )
    config, store, split = load(folder, 50, *small)
    sizes: list[float] = []

    class Looks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            gc.collect()
            sizes.append(resident_mib())

    run = Path(tempfile.mkdtemp()) / "run"
    train_fold(config, store, split, run, 0, watch=lambda feed: Looks())
    print({n: round(sizes[n - 1]) for n in (1, 2, 5, 10, 20, 30, 40, 50)}, "MiB")


def watch_folds(folder: Path, kind: str) -> None:
    """Prints the resident size after each of five folds in this process."""
    import gc

    import keras

    from arcticdl.experiment import split_folds
    from arcticdl.experiment.build import build_feeds
    from arcticdl.experiment.network import build_network
    from arcticdl.experiment.train import train_fold

    narrow = "{backbone_options: {width: 24}}"
    small = (
        f"model={{backbone: plain, decoder: unet, options: {narrow}}}",
        f"folds={{n_splits: {SCENES - 1}}}",
        "train.repeats=1",
    )
    config, store, _ = load(folder, 1, *small)
    after = []
    for number, part in split_folds(config, store, range(SCENES - 1)).items():
        if kind == "arcticdl":
            run = Path(tempfile.mkdtemp()) / "run"
            train_fold(config, store, part, run, number)
        else:
            feed, _ = build_feeds(config, store, part, seed=0)
            model = build_network(config, feed.card, len(feed))
            model.fit(*all_tiles(feed), batch_size=BATCH, verbose=0)
            del feed, model
        keras.backend.clear_session()
        gc.collect()
        after.append(round(resident_mib()))
    print(f"resident MiB after each fold, {kind}: {after}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="interpreter with torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--folds", choices=KINDS[:2], help="memory after each fold")
    parser.add_argument("--serve", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.serve:
        work = {"arcticdl": train_ours, "fit": train_bare, "torch": train_torch}
        work[options.serve](options.folder)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        if not (folder / "data").exists():
            make_store(folder)
        if options.memory:
            watch_memory(folder)
            return
        if options.folds:
            watch_folds(folder, options.folds)
            return
        rows = compare(folder, options.peers, options.rounds)
    for row in rows:
        print({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
