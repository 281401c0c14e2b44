"""Classical methods on the folds of a configuration, without training a network.

    arcticdl prepare configs/meltpond.yaml
    python benchmarks/baselines.py configs/meltpond.yaml

They are those of ``baselines: true``, pooled over all folds.
"""

import sys
import time
from pathlib import Path

from arcticdl.config import load_config
from arcticdl.evaluation import pool_folds, score_baselines
from arcticdl.experiment.data.prepared import open_prepared
from arcticdl.experiment.network import read_heads
from arcticdl.experiment.split import choose_folds


def main(path):
    config = load_config(Path(path))
    store = open_prepared(config)
    name = config.label_name
    head = read_heads(config, {name: store.labels[name].classes})[name]
    folds: dict[str, list] = {}
    for number, split in choose_folds(store, config).items():
        start = time.perf_counter()
        found = score_baselines(
            store,
            split.train,
            split.test,
            store.labels[name],
            head,
            normalizer=config.train.normalizer,
            seed=config.seed,
        )
        print(f"fold {number}: {time.perf_counter() - start:.0f} s")
        for method, result in found.items():
            folds.setdefault(method, []).append(result)
    for results in folds.values():
        pooled = pool_folds(results)
        score = "rmse" if pooled["scored_by"] == "values" else "mean_iou"
        low, high = pooled["intervals"][score]
        told = f"{pooled['scores'][score]:.3f} ({low:.3f}-{high:.3f})"
        print(f"{results[0]['title']}: {score} {told}")


if __name__ == "__main__":
    main(*sys.argv[1:])
