"""How well a constant false-alarm rate finds simulated icebergs, and keeps its rate.

    python benchmarks/icebergs.py

NumPy and SciPy alone. Simulated results say nothing about real ice.
"""

import numpy as np

from arcticdl import boxes, metrics
from arcticdl.seaice import cfar
from arcticdl.simulate import iceberg_scene
from arcticdl.simulate.objects.icebergs import LOOKS


def main() -> None:
    rng = np.random.default_rng(0)
    print("design rate   measured on gamma clutter of 2000 x 2000 px, 10.7 looks")
    sea = rng.gamma(LOOKS, 1 / LOOKS, (2000, 2000))
    for rate in (1e-2, 1e-3, 1e-4, 1e-5):
        ratio = cfar.cfar_ratio(sea, LOOKS, false_alarm_rate=rate, passes=1)
        print(f"{rate:11g}   {(ratio > 1).mean():.3g}")
    print("design rate   AP50 (95 % over scenes)   found at 1 false alarm a scene")
    for rate in (1e-4, 1e-5, 1e-6, 1e-7):
        images = [find(iceberg_scene(512, index=k), rate) for k in range(12)]
        matches = metrics.match_objects(images, 1)
        scores = metrics.object_scores(matches, ["iceberg"])
        low, high = scores["intervals"]["ap50"]
        found = metrics.froc(matches)["at"][1.0]
        print(f"{rate:11g}   {scores['ap50']:.2f} ({low:.2f} to {high:.2f})", end="")
        print(f"       {found:.2f}")


def find(scene, rate):
    """(truth, found, scores) of one scene."""
    power = 10 ** (scene["image"].sel(band="HH").values / 10)
    ratio = cfar.cfar_ratio(power, LOOKS, false_alarm_rate=rate)
    targets = cfar.bright_objects(ratio, min_px=3)
    found = boxes.boxes_from_polygons(targets["points"])
    return metrics.ObjectImage(scene["icebergs"].values, found, targets["scores"])


if __name__ == "__main__":
    main()
