import numpy as np
import pytest

from arcticdl.plots import show_tiles


@pytest.mark.parametrize("label", [None, "ice", "sic"])
def test_tiles_are_shown_with_their_labels(map_store, label):
    figure = show_tiles(map_store, [0, 5, 9], label=label, bands=["HV", "HH", "HH"])
    titles = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
    assert titles[:3] == ["tile 0\nscene_0", "tile 5\nscene_0", "tile 9\nscene_1"]
    if label != "sic":
        names = [text.get_text() for text in figure.axes[5].get_legend().get_texts()]
        assert names == ["water", "thin ice", "thick ice", "void"]


def test_random_tiles_are_the_same_each_time(map_store):
    one, two = (show_tiles(map_store, num_tiles=4, seed=1) for _ in range(2))
    assert [a.get_title() for a in one.axes] == [a.get_title() for a in two.axes]


def test_tiles_share_one_stretch(map_store):
    figure = show_tiles(map_store, [9, 10], bands=["HH"])
    image = map_store.read([9, 10])
    pixels = np.stack([ax.images[0].get_array()[..., 0] for ax in figure.axes[:2]])
    order = np.argsort(image["image"][..., 0][image["valid"]])
    assert (np.diff(pixels[image["valid"]][order].astype(int)) >= 0).all()


def test_nothing_to_show_is_refused(map_store):
    with pytest.raises(ValueError, match="at least one tile"):
        show_tiles(map_store, [])
    with pytest.raises(ValueError, match="sod"):
        show_tiles(map_store, [0], label="sod")
