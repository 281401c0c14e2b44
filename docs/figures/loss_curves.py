"""Figure: real trainings and their curves. Command: python docs/figures/loss_curves.py.

Each is a training of a small network on NumPy data, of about a second, that provokes
what its panel says; the diagnosis is read from its curves.
"""

from pathlib import Path

import keras
import numpy as np
from matplotlib.ticker import LogFormatter, MaxNLocator

from arcticdl import plots
from arcticdl.training import diagnose


def signs(count, seed, wrong=0.0):
    """Two classes by the sign of a product of two columns, some labelled wrongly."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 10)).astype("float32")
    y = (x[:, 0] * x[:, 1] > 0) ^ (rng.random(count) < wrong)
    return x, y.astype("float32")[:, None]


def line(count, seed):
    """A linear function of the columns, and noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 10)).astype("float32")
    y = x.sum(axis=1, keepdims=True) + rng.normal(size=(count, 1))
    return x, y.astype("float32")


def network(*widths, norm=False):
    layers = [keras.Input((10,))]
    for width in widths:
        layers.append(keras.layers.Dense(width, activation="relu"))
        layers += [keras.layers.BatchNormalization(momentum=0.1)] if norm else []
    return keras.Sequential([*layers, keras.layers.Dense(1)])


def train(model, data, optimizer, *, epochs=20, batch_size=32):
    (x, y), validation = data
    classes = set(np.unique(y)) <= {0, 1}
    loss = keras.losses.BinaryCrossentropy(from_logits=True) if classes else "mse"
    model.compile(optimizer, loss, jit_compile=False)
    return model.fit(
        x, y, validation_data=validation, epochs=epochs, batch_size=batch_size,
        verbose=0,
    ).history  # fmt: skip


def overfitting(seed=0):
    """Forty samples, a wide network."""
    data = signs(40, seed, 0.15), signs(400, seed + 1, 0.15)
    return train(network(128), data, keras.optimizers.Adam(1e-2), batch_size=40)


def underfitting(seed=0):
    """No hidden layer: a plane cannot tell the sign of a product."""
    data = signs(400, seed), signs(400, seed + 1)
    return train(network(), data, keras.optimizers.Adam(5e-2), epochs=12)


def too_slow(seed=0):
    """A learning rate too small by far."""
    data = line(400, seed), line(400, seed + 1)
    return train(network(), data, keras.optimizers.SGD(4e-4), epochs=12)


def divergence(seed=0):
    """Steps longer than the curvature of the loss allows."""
    data = line(400, seed), line(400, seed + 1)
    return train(network(), data, keras.optimizers.SGD(0.9), batch_size=400, epochs=12)


def noisy_validation(seed=1):
    """Batch statistics forgotten at once, a high rate, few samples to judge."""
    data = line(200, seed), line(12, seed + 1)
    return train(
        network(16, norm=True), data, keras.optimizers.Adam(5e-2), batch_size=16
    )


def plateau(seed=0):
    """A line is learnt in a few epochs, and nothing after them."""
    data = line(400, seed), line(400, seed + 1)
    return train(network(), data, keras.optimizers.SGD(0.05), batch_size=50)


def healthy(seed=0):
    """Enough samples, a fair network, a rate that falls."""
    data = signs(2000, seed, 0.05), signs(1000, seed + 1, 0.05)
    rate = keras.optimizers.schedules.CosineDecay(5e-3, 32 * 12, alpha=0.05)
    return train(
        network(32), data, keras.optimizers.Adam(rate), epochs=12, batch_size=64
    )


TRAININGS = {
    "overfitting": overfitting,
    "underfitting": underfitting,
    "divergence": divergence,
    "noisy validation": noisy_validation,
    "plateau": plateau,
    "healthy": healthy,
}


def provoke(name):
    """Trains, and tells what the curves say; two equal classes have a loss of log 2."""
    training = TRAININGS[name]
    keras.utils.set_random_seed((training.__defaults__ or (0,))[0])
    history = training()
    constant = float(np.log(2)) if name == "underfitting" else None
    return history, diagnose(history, constant_loss=constant)


def draw(ax, history, title):
    epochs = np.arange(1, len(history["loss"]) + 1)
    ax.plot(epochs, history["loss"], ls="--", color="#0072B2", label="training")
    ax.plot(epochs, history["val_loss"], color="#0072B2", label="validation")
    ax.set_title(title)
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(True)


def main():
    with plots.house_style():
        figure = plots.new_figure((10.2, 5.6))
        for ax, name in zip(figure.subplots(2, 3).flat, TRAININGS, strict=True):
            history, findings = provoke(name)
            print(f"{name}: {findings[0]}")
            draw(ax, history, findings[0].kind)
        for ax in (figure.axes[0], figure.axes[3]):
            ax.set_ylabel("loss")
        figure.axes[2].set_yscale("log")
        figure.axes[2].yaxis.set_major_formatter(LogFormatter())
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    target = Path(__file__).parents[1] / "images" / "loss_curves.png"
    plots.write_figure(figure, target, dpi=110)


if __name__ == "__main__":
    main()
