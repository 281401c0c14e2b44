"""Losses and metrics on two devices and on one, of which the same is expected.

Run in a process of its own, since a backend counts its devices only once:
``python laws.py losses|metrics [NAME ...]``. Prints one line of JSON: {case: largest
difference}, relative to the size of the numbers on one device.
"""

import json
import os
import sys

import numpy as np

NUM_DEVICES = 2


def start():
    """Splits the CPU into devices, before Keras looks for them."""
    if os.environ["KERAS_BACKEND"] == "jax":
        os.environ["XLA_FLAGS"] = (
            f"--xla_force_host_platform_device_count={NUM_DEVICES}"
        )
        return
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    parts = [tf.config.LogicalDeviceConfiguration()] * NUM_DEVICES
    tf.config.set_logical_device_configuration(cpu, parts)


def apart(found, expected):
    """The largest difference, relative to the largest number."""
    found, expected = np.asarray(found, "float64"), np.asarray(expected, "float64")
    scale = max(np.abs(expected).max(), 1e-6)
    return float(np.nan_to_num(np.abs(found - expected).max() / scale, nan=1e9))


def uneven(case, rng):
    """Void that leaves the first device nearly nothing to score."""
    mask = rng.random(case.elements) < 0.2
    mask[0] = True
    mask[1] = rng.random(case.elements[1:]) < 0.9
    return case.with_void(mask)


def objects(rng):
    """Boxes and answers of four images, of which the first has no box."""
    middle = np.arange(4.0, 32.0, 8.0)
    cells = np.array([(x, y) for y in middle for x in middle])
    rows = np.zeros((4, len(cells), 13), "float32")
    rows[..., :2], rows[..., 2:5] = cells, (8, 8, 1)
    rows[..., 5] = rng.normal(size=rows.shape[:2])
    rows[..., 6:8], rows[..., 8:10] = cells + rng.normal(size=2), (12, 10)
    rows[..., 11:] = rng.normal(size=(*rows.shape[:2], 2))
    boxes = np.full((4, 3, 6), -1, "float32")
    for image in range(1, 4):
        for box in range(image):
            boxes[image, box] = (*rng.uniform(8, 24, 2), 9 + box, 8, 0, box % 2)
    return boxes, rows


def cases(names):
    from arcticdl import losses

    found = {name: losses.LOSSES[name]() for name in sorted(losses.LOSSES)}
    weights = [1.0, 2.0, 5.0]
    found |= {
        "Crossentropy weighted": losses.Crossentropy(class_weights=weights),
        "Crossentropy sum": losses.Crossentropy(reduction="sum"),
        "CenterlineDice sample": losses.CenterlineDice(pool="sample"),
        "Dice all": losses.Dice(pool="all", class_weights=weights),
        "Dice generalized": losses.Dice(generalized=True),
        "Dice sample": losses.Dice(pool="sample"),
        "Dice sum": losses.Dice(reduction="sum"),
        "DiceFocal weighted": losses.DiceFocal(class_weights=weights),
        "LovaszSoftmax sample": losses.LovaszSoftmax(pool="sample"),
        "Sum apart": losses.Sum([losses.Dice(), losses.Boundary(radius_px=3)]),
    }
    ranking = {name for name, loss in found.items() if loss.ranks_batch}
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        found = {n: loss for n, loss in found.items() if n not in ranking}
    return {name: loss for name, loss in found.items() if not names or name in names}


def check_losses(names):
    from arcticdl.testing.losses import make_case, value_and_gradient

    differences = {}
    for name, loss in cases(names).items():
        rng = np.random.default_rng(0)
        if loss.prediction_form == "places":
            label, y_pred = objects(rng)
        else:
            case = make_case(loss, rng, (4, 8, 8))
            label, y_pred = uneven(case, rng), case.y_pred
        one = value_and_gradient(loss, label, y_pred)
        several = loss_on_devices(loss, label, y_pred)
        differences[name] = max(map(apart, several, one))
    return differences


def loss_on_devices(loss, label, y_pred):
    """Value and gradient of a loss whose batch lies on several devices."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("batch",))
        split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("batch"))
        here = [jax.device_put(array, split) for array in (y_pred, label)]
        return jax.jit(jax.value_and_grad(lambda p, t: loss(t, p)))(*here)
    import tensorflow as tf

    strategy = mirrored()

    @tf.function
    def step(*parts):
        def of_one(true, pred):
            with tf.GradientTape() as tape:
                tape.watch(pred)
                value = loss(true, pred)
            return value, tape.gradient(value, pred)

        return strategy.run(of_one, parts)

    value, gradient = step(*(spread(strategy, x) for x in (label, y_pred)))
    parts = strategy.experimental_local_results(gradient)
    return sum(strategy.experimental_local_results(value)), np.concatenate(parts)


def mirrored():
    """Ours, or one that sums in the way that ``SUMS_BY`` names."""
    import tensorflow as tf

    from arcticdl.training.devices.placement import place

    by = os.environ.get("SUMS_BY")
    if by is None:
        return place(NUM_DEVICES).plan
    ops = None if by == "default" else getattr(tf.distribute, by)()
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=ops)


def spread(strategy, array):
    import tensorflow as tf

    parts = np.array_split(array, NUM_DEVICES)
    return strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(parts[context.replica_id_in_sync_group])
    )


def check_metrics(names):
    """Metrics of which each device adds up its part; on JAX there is one sum."""
    from arcticdl import losses, metrics

    strategy = mirrored()
    of_values = {"Bias", "MAE", "R2", "RMSE"}
    differences = {}
    for name in names or sorted(metrics.METRICS):
        kind = metrics.METRICS[name]

        def build(name=name, kind=kind):
            if name == "PooledLoss":
                return kind(losses.DiceFocal())
            return kind() if name in of_values else kind(num_classes=3)

        rng = np.random.default_rng(1)
        pred = rng.normal(size=(4, 8, 8, 3)).astype("float32")
        label = rng.integers(0, 3, (4, 8, 8)).astype("uint8")
        if name in of_values:
            label = pred[..., :1] + rng.normal(size=(4, 8, 8, 1)).astype("float32")
            pred = pred[..., :1]
        elif name.startswith("Label"):
            label = np.eye(3, dtype="uint8")[label]
        label[0] = np.nan if name in of_values else 255
        label[1, :5] = np.nan if name in of_values else 255
        one = build()
        one.update_state(label, pred)
        with strategy.scope():
            several = build()
        if name == "PooledLoss":  # `fit` lets it see a batch in the same way
            with strategy.scope():
                several.update_state(label, pred)
            several.reset_state()
        strategy.run(several.update_state, [spread(strategy, x) for x in (label, pred)])
        differences[name] = apart(several.result(), one.result())
    return differences


if __name__ == "__main__":
    start()
    check = {"losses": check_losses, "metrics": check_metrics}[sys.argv[1]]
    print(json.dumps(check(sys.argv[2:])))
