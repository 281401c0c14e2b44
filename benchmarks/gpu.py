"""What a GPU node does with the chain, with memory, and with augmentation.

    KERAS_BACKEND=jax python benchmarks/gpu.py chain|memory|augment [--folder FOLDER]

- ``chain``: doctor, simulate, prepare, train, evaluate, predict and report of
  ``configs/demo.yaml``, from the command line, and training once more, which finds what
  was compiled.
- ``memory``: the peak of the device over training steps of a U-Net ResNet18 on tiles of
  256 px: one batch of 64, four of 16 accumulated, and half precision. JAX alone tells.
- ``augment``: milliseconds a batch of a policy on the host, and as a Keras layer.

Results are lines of JSON. Everything is written to a temporary folder, or to
``--folder``, whose scenes and tiles are taken where they are there. An epoch beside
``model.fit`` and PyTorch: ``benchmarks/gpu_epochs.py``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEMO = str(ROOT / "configs" / "demo.yaml")
SIZE_PX, BATCH, SCENES, REPEATS = 256, 32, 13, 5
SET = (
    "data.use_bands=null",
    f"tiles.size_px={SIZE_PX}",
    "model={backbone: resnet18, decoder: unet}",
    "loss={name: Crossentropy}",
    "train.augment=[]",
    "train.ema=null",
    f"train.repeats={REPEATS}",
    "folds.n_splits=13",
    "baselines=false",
)
POLICY = [
    {"name": "hflip", "p": 0.5},
    {"name": "quarter_turn", "p": 0.75},
    {"name": "affine", "rotate": [-15, 15], "scale": [0.9, 1.1], "p": 0.5},
    {"name": "gain", "factor": [0.8, 1.25], "p": 0.5},
    {"name": "noise", "std": [0.0, 0.1], "p": 0.5},
]


def tell(step: str, **found: object) -> None:
    """Prints one result."""
    rounded = {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}
    print(json.dumps({"step": step, **rounded}), flush=True)


def command(*words: object) -> tuple[float, str]:
    """Seconds of a command of ``arcticdl``, and what it said."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "arcticdl.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{words} ended with {done.returncode}:\n{done.stdout}")
    return time.perf_counter() - began, done.stdout


def chain() -> None:
    """Each command of the demo."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path("jax").resolve()))
    print(command("doctor")[1])
    for words in (
        ("simulate", "data/demo", "--scenes", 6, "--size", 512),
        ("prepare", DEMO, "--overwrite"),
        ("train", DEMO, "--fold", 0, "--overwrite"),
        ("evaluate", "runs/demo"),
        ("predict", "runs/demo", "--fold", 0, "--overwrite"),
        ("report", "runs/demo"),
        ("train", DEMO, "--fold", 1),
    ):
        tell("chain", command=words[0], seconds=command(*words)[0])


def prepare() -> None:
    """Scenes and tiles for what follows."""
    if Path("data/demo.tiles").exists():
        return
    command("simulate", "data/demo", "--scenes", SCENES, "--size", 1024)
    command("prepare", DEMO, *words_of(SET))


def words_of(changes: tuple[str, ...]) -> list[str]:
    """Changes of a configuration, as words of a command."""
    return [word for text in changes for word in ("--set", text)]


def load(epochs: int, precision: str, *more: str, batch: int | str = BATCH):
    """The configuration, its store and the parts of fold 0."""
    from arcticdl.config import load_config
    from arcticdl.experiment import open_prepared, split_folds

    changes = (f"train.epochs={epochs}", f"train.batch_size={batch}")
    changes += (f"train.precision={precision}", "train.jit_compile=true", *more)
    config = load_config(DEMO, (*SET, *changes))
    store = open_prepared(config)
    return config, store, split_folds(config, store, [0])[0]


def all_tiles(feed):
    """The tiles of an epoch as arrays, images (tile, y, x, band) and labels."""
    import numpy as np

    batches = [feed[number] for number in range(len(feed))]
    return tuple(np.concatenate(parts) for parts in zip(*batches, strict=True))


def built(epochs: int, precision: str, *more: str, batch: int = BATCH):
    """A compiled network and its feed, as ``arcticdl train`` makes them."""
    import keras

    from arcticdl.experiment.build import build_feeds
    from arcticdl.experiment.network import build_network

    keras.mixed_precision.set_global_policy(precision)
    config, store, split = load(epochs, precision, *more, batch=batch)
    feed, _ = build_feeds(config, store, split, seed=0)
    return build_network(config, feed.card, epochs * len(feed)), feed


def measure(*words: object) -> None:
    """Takes a peak in a process of its own."""
    here = [sys.executable, __file__, "--folder", ".", "peak"]
    done = subprocess.run(
        [*here, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    found = [line for line in done.stdout.splitlines() if line.startswith('{"step"')]
    print("\n".join(found) if found else done.stdout[-3000:], flush=True)


def peak(batch: int, accumulate: int, precision: str) -> None:
    """The peak of the device over three steps, and the seconds of the last."""
    import jax

    model, feed = built(1, precision, f"train.accumulate={accumulate}", batch=batch)
    for number in range(4):
        data = feed[number % len(feed)]
        began = time.perf_counter()
        model.train_on_batch(*data)
    told = jax.devices()[0].memory_stats() or {}
    tell(
        "memory",
        batch=batch,
        accumulate=accumulate,
        precision=precision,
        step_s=time.perf_counter() - began,
        peak_mib=told.get("peak_bytes_in_use", 0) / 2**20,
    )


def memory() -> None:
    """One large batch, and small ones accumulated."""
    prepare()
    for batch, accumulate in ((64, 1), (16, 4)):
        measure("--batch", batch, "--accumulate", accumulate)
    measure("--precision", "mixed_bfloat16")


def augment() -> None:
    """The policy on the host, and its layer on the device."""
    import keras
    import numpy as np

    from arcticdl.augment import DeviceAugment, build_policy

    rng = np.random.default_rng(0)
    shape = (BATCH, SIZE_PX, SIZE_PX, 4)
    image = rng.uniform(0.1, 0.9, shape).astype(np.float32)
    label = rng.integers(0, 4, shape[:3]).astype(np.uint8)
    policy, valid = build_policy(POLICY), np.ones(label.shape, bool)
    layer = DeviceAugment(POLICY, seed=0)

    def host():
        policy(image, {"ice": label}, valid, rng)

    convert = keras.ops.convert_to_tensor
    tensors = {"x": convert(image), "y": convert(label)}
    if keras.backend.backend() == "jax":
        import jax

        layer({"image": tensors["x"], "ice": tensors["y"]}, training=True)
        state = [v.value for v in layer.variables]

        @jax.jit
        def step(state, x, y):
            out, after = layer.stateless_call(
                [], state, {"image": x, "ice": y}, training=True
            )
            return out, after

        def device():
            nonlocal state
            out, state = step(state, tensors["x"], tensors["y"])
            jax.block_until_ready(out["image"])
    else:

        def device():
            layer({"image": tensors["x"], "ice": tensors["y"]}, training=True)

    for name, work in (("host policy", host), ("Keras layer", device)):
        work()
        seconds = []
        for _ in range(10):
            began = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - began)
        tell("augment", kind=name, ms_a_batch=1000 * statistics.median(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    steps = {"chain": chain, "memory": memory, "augment": augment}
    parser.add_argument("step", choices=(*steps, "peak"), metavar="|".join(steps))
    parser.add_argument("--folder", type=Path, help="for scenes, tiles and runs")
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    parser.add_argument("--accumulate", type=int, default=1, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    folder = asked.folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    if asked.step == "peak":
        peak(asked.batch, asked.accumulate, asked.precision)
    else:
        steps[asked.step]()


if __name__ == "__main__":
    main()
