"""Time and memory of drawing one simulated scene on one core.

Usage: python benchmarks/simulate.py [SIZE_PX]
"""

import os
import resource
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"


def main(size_px: int = 5000) -> None:
    from arcticdl.simulate import scene_arrays

    scene_arrays(64)
    wall, cpu = time.perf_counter(), time.process_time()
    scene = scene_arrays(size_px, seed=1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{size_px} x {size_px} px: bands {', '.join(scene.band.values)} and labels")
    print(f"processor time {cpu:.1f} s, wall time {wall:.1f} s, peak {peak:.2f} GiB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
