"""Two views of each tile: augmented apart, by seed, epoch and batch; resumed."""

import keras
import numpy as np
import pytest

from arcticdl import losses, simulate, tiles
from arcticdl.augment import build_policy
from arcticdl.models import build_contrastive, build_multitask
from arcticdl.training import (
    CollapseWatch,
    TileFeed,
    build_optimizer,
    fit,
    pair_views,
)

pytestmark = pytest.mark.backend

STEPS = [{"name": "hflip"}, {"name": "noise", "std": [0.5, 0.5], "p": 1.0}]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    scenes = [simulate.coarse_scene(32, index=k) for k in range(2)]
    scenes[0]["image"][:, :3] = np.nan
    path = tmp_path_factory.mktemp("paired") / "coarse.tiles"
    return tiles.prepare(scenes, path, tile_size_px=16, progress=False)


def feed(store, **options):
    options = {"augment": build_policy(STEPS), "batch_size": 4, **options}
    return TileFeed(store, range(8), labels=["fine"], prefetch=0, **options)


def test_views_are_of_one_tile_and_drawn_apart(store):
    paired, plain = pair_views(feed(store)), feed(store)
    told, label = paired[0]
    assert told["image"].shape == told["view"].shape == plain[0][0].shape
    assert label.shape == plain[0][1].shape
    assert (told["image"] != told["view"]).any()
    # Each view holds the tile's pixels, but for noise of half a deviation.
    flat = TileFeed(store, range(8), labels=["fine"], prefetch=0, batch_size=4)
    for epoch in (0, 1):
        paired.seek(epoch)
        flat.seek(epoch)
        sources = flat[0][0].mean((1, 2, 3))
        for view in paired[0][0].values():
            assert np.abs(view.mean((1, 2, 3)) - sources).max() < 0.15
            assert np.corrcoef(view.mean((1, 2, 3)), sources)[0, 1] > 0.9
    again = pair_views(feed(store))
    np.testing.assert_array_equal(again[0][0]["view"], told["view"])
    again.seek(1)
    np.testing.assert_array_equal(again[0][0]["view"], paired[0][0]["view"])
    assert (again[0][0]["view"] != told["view"]).any()
    # Where no pixel is, both views are 0: the first rows of two tiles.
    batches = [again[0][0], again[1][0]]
    seen = [np.concatenate([b[n] for b in batches]).any(-1) for n in ("image", "view")]
    for view in seen:
        rows = view.all((0, 2)) | ~view.any((0, 2))
        assert (~view[:, :3].any((1, 2))).sum() == 2 and not rows[:3].any()


def test_one_view_alone_is_refused(store):
    with pytest.raises(ValueError, match="Views must differ"):
        pair_views(feed(store, augment=None))
    with pytest.raises(ValueError, match=r"at least 2.*Received: 1"):
        pair_views(feed(store, batch_size=1))


class Interrupted(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def compiled():
    keras.utils.set_random_seed(1)
    network = build_multitask(
        "plain",
        "unet",
        heads={"fine": {"task": "dense_regression", "num_outputs": 1}},
        num_bands=2,
        backbone_options={"width": 4, "depth": 1},
        decoder_options={"channels": (4,)},
    )
    model = build_contrastive(network, size=4)
    model.compile(
        build_optimizer(0.01, num_steps=4),
        losses.MeanAbsoluteError(),
        run_eagerly=True,
    )
    return model


def test_a_training_by_views_goes_on_to_the_bit(store, tmp_path, capsys):
    whole = compiled()
    folder = tmp_path / "run" / "whole"
    watch = CollapseWatch()
    fit(
        whole, pair_views(feed(store)), folder, epochs=2, answering=whole.network,
        validation_feed=pair_views(feed(store, shuffle=False)), callbacks=[watch],
    )  # fmt: skip
    parts = tmp_path / "run" / "parts"
    options = {"epochs": 2, "validation_feed": pair_views(feed(store, shuffle=False))}
    with pytest.raises(KeyboardInterrupt):
        fit(
            compiled(), pair_views(feed(store)), parts, callbacks=[Interrupted()],
            **options,
        )  # fmt: skip
    resumed = compiled()
    fit(resumed, pair_views(feed(store)), parts, answering=resumed.network, **options)
    for one, other in zip(
        (*whole.variables, *whole.optimizer.variables),
        (*resumed.variables, *resumed.optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(
            *(keras.ops.convert_to_numpy(v) for v in (one, other))
        )
    rows = [(path / "history.csv").read_text() for path in (folder, parts)]
    assert rows[0] == rows[1]
    assert "val_spread" in rows[0] and "val_told_apart" in rows[0]
    assert "% find their own other view" in watch.told
    assert watch.told[:30] in capsys.readouterr().out
    kept = keras.saving.load_model(folder / "model.keras")
    assert kept.name == whole.network.name  # no coder


def test_collapse_is_told(capsys):
    watch = CollapseWatch()
    watch.on_epoch_end(0, {"spread": 0.9, "told_apart": 1.0, "val_spread": 0.02,
                           "val_told_apart": 0.1})  # fmt: skip
    watch.on_train_end()
    assert "Collapsed: all images have nearly one code" in capsys.readouterr().out
    assert "10 % find" in watch.told and "0.02" in watch.told
    quiet = CollapseWatch()
    quiet.on_train_end()
    assert quiet.told == ""
