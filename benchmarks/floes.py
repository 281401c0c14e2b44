"""How well a watershed tells simulated floes apart that touch, and how fast.

    python benchmarks/floes.py

Of true masks, and of masks as a network leaves them; beside connected parts. NumPy,
SciPy, scikit-image and OpenCV alone. Simulated results say nothing about real ice.
"""

import resource
import time

import numpy as np
from scipy import ndimage

from arcticdl import metrics
from arcticdl.inference import connected_objects, separate_objects
from arcticdl.simulate import floe_scene

SEEDS, SCENES, SIZE_PX = (0, 1, 2), 6, 512
NECKS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9)


def main() -> None:
    measure(4096)
    scenes = {s: [draw(s, k) for k in range(SCENES)] for s in (*SEEDS, 9)}
    for kind in ("true", "rough"):
        print(f"\n{kind} masks: panoptic quality on seed 9, which chooses max_neck")
        found = {neck: score(scenes[9], kind, neck)["pq"] for neck in NECKS}
        print("  ".join(f"{neck:g}: {pq:.3f}" for neck, pq in found.items()))
        neck = max(found, key=found.get)
        print(f"seed  objects   max_neck {neck:g}: PQ   SQ   RQ  count error   "
              "connected: PQ   SQ   RQ  count error")  # fmt: skip
        for seed in SEEDS:
            rows = [score(scenes[seed], kind, n) for n in (neck, None)]
            told = [
                f"{r['pq']:.3f} {r['sq']:.3f} {r['rq']:.3f} {r['count_error']:+.1%}"
                for r in rows
            ]
            print(f"{seed:4d}  {rows[0]['num_truth']:7.0f}   " + "   ".join(told))


def draw(seed, index):
    """Numbers of floes, and two masks of them: the true one, and a rough one."""
    numbers = floe_scene(SIZE_PX, seed, index=index)["floes"].values.astype(int)
    mask = numbers > 0
    rng = np.random.default_rng([seed, index])
    noise = ndimage.gaussian_filter(rng.normal(size=mask.shape), 1.5)
    soft = ndimage.gaussian_filter(mask.astype(float), 1.0) + 0.6 * noise
    return {"numbers": numbers, "true": mask, "rough": soft > 0.5}


def score(scenes, kind, neck):
    """Panoptic quality of scenes; `neck` of None: connected parts."""
    counts = []
    for scene in scenes:
        mask = scene[kind]
        if neck is None:
            found = connected_objects(mask)
        else:
            found = separate_objects(mask, max_neck=neck)
        counts.append(metrics.panoptic_counts(scene["numbers"], found))
    return metrics.panoptic_quality(counts)


def measure(side):
    """Time and memory of a large map."""
    mask = np.tile(draw(0, 0)["true"], (side // SIZE_PX, side // SIZE_PX))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    separate_objects(mask)
    took = time.perf_counter() - start
    gained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    share = 1024 * gained / mask.size
    print(f"{side} x {side} px: {took:.1f} s, {share:.0f} bytes a pixel")


if __name__ == "__main__":
    main()
