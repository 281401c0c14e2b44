"""Training step and inference of two U-Nets beside PyTorch, and how long models build.

    python benchmarks/models.py [--peers PYTHON] [--rounds 5] [--batch 4] [--json FILE]
    python benchmarks/models.py --build [--json FILE]

``PYTHON`` is an interpreter with torch, timm and segmentation-models-pytorch; without
it their rows are left out. U-Net ResNet34 and U-Net Swin-T, 256 x 256 x 5 pixels and 6
classes, Adam, cross-entropy, float32. Each contestant lives in a process of its own and
works only when asked, round by round in turn, so that a busy machine hits all alike.
Seconds are wall time, medians over rounds after one to warm up; memory is the highest
resident size of the process. PyTorch runs channels_last, as it is fastest there.
"""

import argparse
import importlib.metadata
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SIZE_PX, NUM_BANDS, NUM_CLASSES = 256, 5, 6
NETWORKS = {
    "resnet34": ("resnet34", "resnet34"),
    "swin_t": ("swin_t", "tu-swin_tiny_patch4_window7_224"),
}
"""Name -> ours, and the encoder of segmentation-models-pytorch."""

KINDS = ("keras_xla", "keras", "torch")
Work = dict[str, Callable[[], object]]


def keras_work(network: str, batch: int, *, jit: bool) -> Work:
    """One training step and one prediction of ours, compiled."""
    import keras
    import numpy as np
    import tensorflow as tf

    from arcticdl.models import build_segmenter

    model = build_segmenter(
        NETWORKS[network][0], "unet", num_bands=NUM_BANDS, num_classes=NUM_CLASSES
    )
    optimizer = keras.optimizers.Adam(1e-4)
    optimizer.build(model.trainable_variables)
    score = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rng = np.random.default_rng(0)
    shape = (batch, SIZE_PX, SIZE_PX)
    image = tf.constant(rng.normal(size=(*shape, NUM_BANDS)), tf.float32)
    label = tf.constant(rng.integers(0, NUM_CLASSES, shape), tf.int32)

    @tf.function(jit_compile=jit)
    def step(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = score(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    @tf.function(jit_compile=jit)
    def infer(x: tf.Tensor) -> tf.Tensor:
        return model(x, training=False)

    return {
        "train": lambda: step(image, label).numpy(),
        "infer": lambda: infer(image).numpy(),
    }


def torch_work(network: str, batch: int) -> Work:
    """The same of segmentation-models-pytorch."""
    import segmentation_models_pytorch as smp
    import torch

    torch.manual_seed(0)
    options = {"encoder_weights": None, "in_channels": NUM_BANDS}
    encoder = NETWORKS[network][1]
    if encoder.startswith("tu-swin"):
        options["img_size"] = SIZE_PX
    model = smp.Unet(encoder, classes=NUM_CLASSES, **options)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    image = torch.randn(batch, NUM_BANDS, SIZE_PX, SIZE_PX)
    image = image.to(memory_format=torch.channels_last)
    label = torch.randint(0, NUM_CLASSES, (batch, SIZE_PX, SIZE_PX))

    def step() -> float:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        value = torch.nn.functional.cross_entropy(model(image), label)
        value.backward()
        optimizer.step()
        return value.item()

    def infer() -> object:
        model.eval()
        with torch.inference_mode():
            return model(image).numpy()

    return {"train": step, "infer": infer}


def serve(kind: str, network: str, batch: int) -> None:
    """Does what each line of the input names, and answers with its seconds."""
    if kind == "torch":
        work = torch_work(network, batch)
    else:
        work = keras_work(network, batch, jit=kind == "keras_xla")
    print("READY", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        work[line.strip()]()
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(json.dumps({"s": seconds, "peak_gib": peak}), flush=True)


class Contestant:
    """A process that trains or predicts when asked."""

    def __init__(self, python: str, kind: str, network: str, batch: int) -> None:
        command = [python, __file__, "--serve", kind, network, "--batch", str(batch)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._wait_for("READY")
        self.peak_gib = 0.0

    def _wait_for(self, start: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(start):
                return line
        raise RuntimeError(f"{self.process.args} ended early.")

    def do(self, what: str) -> float:
        """Seconds of one ``train`` or ``infer``."""
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        answer = json.loads(self._wait_for("{"))
        self.peak_gib = answer["peak_gib"]
        return float(answer["s"])

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.wait()


def compare(peers: str | None, rounds: int, batch: int) -> dict[str, dict[str, float]]:
    """Medians of every contestant, one network after the other."""
    results = {}
    for network in NETWORKS:
        kinds = [kind for kind in KINDS if kind != "torch" or peers]
        field = {
            kind: Contestant(
                str(peers) if kind == "torch" else sys.executable, kind, network, batch
            )
            for kind in kinds
        }
        for what in ("infer", "train"):
            seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
            for number in range(rounds + 1):
                for kind, contestant in field.items():
                    taken = contestant.do(what)
                    if number:
                        seconds[kind].append(taken)
            for kind in kinds:
                row = results.setdefault(f"{network} {kind}", {})
                row[what] = statistics.median(seconds[kind])
        for kind, contestant in field.items():
            results[f"{network} {kind}"]["peak_gib"] = contestant.peak_gib
            contestant.close()
    return results


def show(results: dict[str, dict[str, float]]) -> None:
    print("| U-Net | runs on | step (s) | inference (s) | peak (GiB) | step / torch |")
    print("|---|---|---|---|---|---|")
    for name, row in results.items():
        network, kind = name.split()
        rival = results.get(f"{network} torch")
        ratio = f"{row['train'] / rival['train']:.2f}" if rival else ""
        print(
            f"| {network} | {kind} | {row['train']:.2f} | {row['infer']:.2f} | "
            f"{row['peak_gib']:.1f} | {ratio} |"
        )


def time_builds() -> dict[str, float]:
    """Seconds to build a U-Net on each backbone, the slowest first."""
    from arcticdl.models import BACKBONES, build_segmenter

    names = [name for name in BACKBONES if not name.startswith("sm_")]
    build_segmenter("plain", num_bands=2, num_classes=2)  # imports are not counted
    seconds = {}
    for name in names:
        start = time.perf_counter()
        build_segmenter(name, num_bands=NUM_BANDS, num_classes=NUM_CLASSES)
        seconds[name] = time.perf_counter() - start
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--peers", help="interpreter with torch, timm and smp")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--build", action="store_true", help="time building instead")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(*arguments.serve, arguments.batch)
        return
    results: dict = {}
    if arguments.build:
        results = time_builds()
        for name, seconds in list(results.items())[:12]:
            print(f"{name:20s} {seconds:5.1f} s")
    else:
        results = compare(arguments.peers, arguments.rounds, arguments.batch)
        show(results)
    if arguments.json:
        results["keras"] = importlib.metadata.version("keras")
        arguments.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
